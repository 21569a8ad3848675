//! What the process that leads knows and has, for all steps; and how it writes the list.

use super::{Trouble, Work};
use crate::app::{now, App};
use crate::error::{Error, Kind, Result};
use crate::halt;
use crate::kafka::admin::Admin;
use crate::kafka::list::{Change, ListState, ListWriter};
use crate::names::{ClientId, EdgeName};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// What the process that leads knows and has.
pub(super) struct Leader {
    pub app: App,
    writer: Arc<Mutex<ListWriter>>,
    /// The list as it is in Kafka.
    pub list: ListState,
    /// Rights were given or taken since the marker was last renewed.
    pub marker_is_due: bool,
    /// When it was last renewed.
    pub marked: Instant,
    /// Edges whose rights are as they should be: whether they are live.
    pub edge_rights: HashMap<EdgeName, bool>,
    /// Clients to which somebody gave strange rights.
    pub strange: HashSet<ClientId>,
    /// Asks only whether Kafka is there.
    probe: Arc<Admin>,
}

impl Leader {
    pub fn new(app: App, writer: ListWriter, list: ListState, probe: Arc<Admin>) -> Leader {
        Leader {
            app,
            writer: Arc::new(Mutex::new(writer)),
            list,
            marker_is_due: false,
            marked: Instant::now(),
            edge_rights: HashMap::new(),
            strange: HashSet::new(),
            probe,
        }
    }

    /// An error of Kafka's is trouble if Kafka does not answer at all, and else that of what was asked.
    pub async fn of_kafka<T>(&self, done: Work<T>) -> Work<std::result::Result<T, Error>> {
        match done {
            Ok(done) => Ok(Ok(done)),
            Err(Trouble::Kafka(error)) => match answers(&self.app, &self.probe).await {
                Ok(()) => Ok(Err(error)),
                Err(_) => Err(Trouble::Kafka(error)),
            },
            Err(trouble) => Err(trouble),
        }
    }

    /// Writes changes of the list, with a new marker of the database behind them. After an error of Kafka's the writer is of no more
    /// use.
    pub async fn publish(&mut self, mut changes: Vec<Change>) -> Work<()> {
        let seen = self.list.database.clone();
        let renewed = self.app.store().renew_marker(seen.as_ref(), now()).await;
        let marker = renewed.map_err(|error| match error.kind {
            // Someone else has written to the list: it is to be read again.
            Kind::Conflict => Trouble::Kafka(error),
            _ => Trouble::Store(error),
        })?;
        halt::at("marker-renewed");
        changes.push(Change::Database(marker));
        let writer = Arc::clone(&self.writer);
        let published = self.app.kafka(move |admin, _| {
            let mut writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
            Ok((writer.publish(admin, &changes)?, changes))
        });
        let (position, changes) = published.await.map_err(Trouble::Kafka)?;
        self.list.apply(&changes, position);
        (self.marker_is_due, self.marked) = (false, Instant::now());
        Ok(())
    }
}

/// Asks whether Kafka is there.
pub(super) async fn answers(app: &App, probe: &Arc<Admin>) -> Result<()> {
    let probe = Arc::clone(probe);
    app.kafka(move |_, _| probe.describe_cluster().map(|_| ())).await
}
