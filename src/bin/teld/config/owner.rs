//! Users and groups by name.

use std::fs;

/// User and group of `"user"`, `"user:group"` or `":group"`; each is a name of /etc/passwd or /etc/group, or a number.
pub fn owner(text: &str) -> Result<(Option<u32>, Option<u32>), String> {
    let (user, group) = text.split_once(':').unwrap_or((text, ""));
    let find = |name: &str, what: &str, file: &str| match name {
        "" => Ok(None),
        name => number(name, file).map(Some).ok_or_else(|| format!("no such {what}: {name}")),
    };
    Ok((find(user, "user", "/etc/passwd")?, find(group, "group", "/etc/group")?))
}

/// In both files the name comes first and the number third (passwd(5), group(5)).
fn number(name: &str, file: &str) -> Option<u32> {
    if let Ok(number) = name.parse() {
        return Some(number);
    }
    let text = fs::read_to_string(file).ok()?;
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_taken() {
        assert_eq!(owner("root"), Ok((Some(0), None)));
        assert_eq!(owner("root:root"), Ok((Some(0), Some(0))));
        assert_eq!(owner(":7"), Ok((None, Some(7))));
        assert_eq!(owner("1000:1001"), Ok((Some(1000), Some(1001))));
        assert_eq!(owner("nobody-of-that-name"), Err("no such user: nobody-of-that-name".into()));
        assert_eq!(owner("root:no-such"), Err("no such group: no-such".into()));
    }
}
