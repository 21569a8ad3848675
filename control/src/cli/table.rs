//! Tables for a terminal.

use serde_json::Value;

/// Rows under their headings, in columns; a heading that ends in `>` is one of numbers.
pub struct Table {
    rows: Vec<Vec<String>>,
    right: Vec<bool>,
}

impl Table {
    /// A table with these headings.
    pub fn new(headings: &[&str]) -> Table {
        let right = headings.iter().map(|heading| heading.ends_with('>')).collect();
        let headings = headings.iter().map(|heading| heading.trim_end_matches('>').to_owned()).collect();
        Table { rows: vec![headings], right }
    }

    /// Adds a row.
    pub fn add(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(|cell| visible(&cell)).collect());
    }

    /// The table, as text.
    pub fn text(&self) -> String {
        let width = |column: usize| {
            let widths = self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
            widths.max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.right.len()).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            let cells = row.iter().zip(&widths).zip(&self.right).map(|((cell, width), right)| {
                let space = " ".repeat(width.saturating_sub(cell.chars().count()));
                if *right {
                    space + cell
                } else {
                    cell.clone() + &space
                }
            });
            text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
            text.push('\n');
        }
        text
    }
}

/// The text in one line that moves no cursor.
pub fn visible(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// A field of an answer as a cell: texts without quotes, lists with commas, `-` for what is not there.
pub fn cell(value: &Value, name: &str) -> String {
    match value.get(name) {
        None | Some(Value::Null) => "-".into(),
        Some(Value::String(text)) if text.is_empty() => "-".into(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Bool(is)) => if *is { "yes" } else { "no" }.into(),
        Some(Value::Array(values)) if values.is_empty() => "-".into(),
        Some(Value::Array(values)) => {
            let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            values.iter().map(text).collect::<Vec<_>>().join(", ")
        }
        Some(value) => value.to_string(),
    }
}

/// A time without its fractions of seconds.
pub fn time(value: &Value, name: &str) -> String {
    let text = cell(value, name);
    match text.split_once('.') {
        Some((seconds, _)) => format!("{seconds}Z"),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn columns_stand_under_their_headings() {
        let mut table = Table::new(&["id", "lines>", "detail"]);
        let row = json!({ "id": "c83", "lines": 12345, "detail": "a\u{1b}[31m\nb" });
        table.add(["id", "lines", "detail"].map(|name| cell(&row, name)));
        table.add(["a-long-id", "none", "none"].map(|name| cell(&json!({}), name)));
        assert_eq!(table.text(), "id   lines  detail\nc83  12345  a [31m b\n-        -  -\n");
        assert_eq!(time(&json!({ "at": "2026-11-28T03:00:00.123Z" }), "at"), "2026-11-28T03:00:00Z");
    }
}
