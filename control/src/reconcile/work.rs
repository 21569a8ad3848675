//! A batch of clients with something to do: their steps in order, in a few calls for all of them.

use super::leader::Leader;
use super::task::{load, report, Task};
use super::{edges, leaving, list, quota, rights, topic, Work};
use crate::app::{now, App};
use crate::error::{Error, Result};
use crate::names::ClientId;

/// Most clients of a batch.
pub(super) const BATCH: usize = 500;

/// Does what is due for these clients. What one client's thing comes to is that client's; if Kafka is away, all get the reason.
pub(super) async fn batch(leader: &mut Leader, ids: &[ClientId]) -> Work<()> {
    let app = leader.app.clone();
    let mut tasks = load(&app, ids).await?;
    let done = steps(leader, &mut tasks).await;
    if let Err(super::Trouble::Kafka(error)) = &done {
        tasks.iter_mut().for_each(|task| task.give_up(&error.text));
        report(&app, &mut tasks).await?;
    }
    done
}

async fn steps(leader: &mut Leader, tasks: &mut [Task]) -> Work<()> {
    let app = leader.app.clone();
    topic::bring(leader, tasks).await?;
    report(&app, tasks).await?;
    // What ends, ends first: out of the list, and then no rights.
    list::bring(leader, tasks, false).await?;
    report(&app, tasks).await?;
    rights::bring(leader, tasks).await?;
    quota::bring(leader, tasks).await?;
    report(&app, tasks).await?;
    list::bring(leader, tasks, true).await?;
    edges::bring(leader, tasks).await?;
    report(&app, tasks).await?;
    leaving::bring(leader, tasks).await?;
    report(&app, tasks).await?;
    Ok(())
}

/// Says of everything that is due why it is not done.
pub(super) async fn give_up_due(app: &App, why: &Error) -> Result<()> {
    /// More are told the next time.
    const MOST: usize = 40;
    for _ in 0..MOST {
        let ids = app.store().due(now(), BATCH).await?;
        let mut tasks = load(app, &ids).await?;
        tasks.iter_mut().for_each(|task| task.give_up(&why.text));
        report(app, &mut tasks).await?;
        if ids.len() < BATCH {
            break;
        }
    }
    Ok(())
}
