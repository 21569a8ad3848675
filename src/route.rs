//! From a client's id to its topic and its account: the table that the worker reads, and the reload swaps whole.

use crate::clients::{Client, ClientList, ClientTable};
use crate::front::Front;
use crate::process::ForkGuard;
use crate::stats::{ClientCounters, ClientStats};
use arc_swap::{ArcSwap, Guard};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// A client that is or was listed: its account outlives its entry in the list, so that lines under way still have one.
pub struct Account {
    /// The client's id.
    pub id: String,
    /// A small number of its own, for the worker's tables.
    pub slot: usize,
    /// Its lines.
    pub counters: ClientCounters,
    withdrawn: AtomicBool,
}

impl Account {
    /// The client is no longer listed: nothing more may be handed over for it.
    pub fn is_withdrawn(&self) -> bool {
        self.withdrawn.load(Ordering::Acquire)
    }

    /// An account outside of any table, for tests of what lies behind routing.
    #[cfg(test)]
    pub fn of(id: &str, slot: usize) -> Arc<Account> {
        Arc::new(Account {
            id: id.into(),
            slot,
            counters: ClientCounters::default(),
            withdrawn: AtomicBool::new(false),
        })
    }
}

/// An entry of the table: what the list says of a client, and its account.
pub struct Route {
    /// Where its lines go, and how many of them.
    pub client: Client,
    /// Its account.
    pub account: Arc<Account>,
}

/// The table that is swapped.
pub type RouteTable = ClientTable<Arc<Route>>;

/// All routes, and the accounts behind them.
pub struct Routes {
    front: Arc<ForkGuard<Front>>,
    table: ArcSwap<RouteTable>,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    /// Of every id that was ever listed, a few hundred bytes each: a client that comes back has its account again, and
    /// the worker's tables, which go by slot, grow with the number of ids only.
    accounts: HashMap<String, Arc<Account>>,
    slots: usize,
    /// The table before, so that whoever reloads frees it, and not the worker in the middle of its work.
    previous: Option<Arc<RouteTable>>,
}

impl Routes {
    /// No clients yet. Who is listed is told in `front`.
    pub fn new(front: Arc<ForkGuard<Front>>) -> Routes {
        let empty = ClientTable::new(ClientList::default(), |_| unreachable_entry());
        Routes { front, table: ArcSwap::from_pointee(empty), kept: Mutex::new(Kept::default()) }
    }

    /// Swaps the whole table for that of `list`.
    pub fn replace(&self, list: ClientList) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let table = ClientTable::new(list, |client| {
            let account = kept.account(&client.id);
            Arc::new(Route { client, account })
        });
        let table = Arc::new(table);
        let old = self.table.swap(Arc::clone(&table));
        if let Some(front) = self.front.get() {
            front.wanted.replace(table.len(), table.iter().map(|route| route.client.id.as_bytes()));
        }
        // After the swap, so that a route found in the table is never withdrawn by a list older than it.
        for account in kept.accounts.values() {
            account.withdrawn.store(table.get(account.id.as_bytes()).is_none(), Ordering::Release);
        }
        kept.previous = Some(old);
    }

    /// The table now.
    pub fn table(&self) -> Guard<Arc<RouteTable>> {
        self.table.load()
    }

    /// The table now, to keep.
    pub fn table_to_keep(&self) -> Arc<RouteTable> {
        self.table.load_full()
    }

    /// Whether `id` is listed and lines are taken: by the table itself, for whoever asks while what is told in front is
    /// replaced, or closed.
    #[cold]
    pub fn lists(&self, id: &[u8]) -> bool {
        let takes = self.front.get().is_some_and(|front| !front.wanted.is_closed());
        takes && self.table.load().get(id).is_some()
    }

    /// Nobody's lines are wanted any more, whatever the list.
    pub fn close(&self) {
        if let Some(front) = self.front.get() {
            front.wanted.close();
        }
    }

    /// The accounts of all that are listed, or were and had lines, sorted by id.
    pub fn accounts(&self) -> Vec<(String, ClientStats)> {
        let accounts: Vec<Arc<Account>> = {
            let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            let is_shown = |account: &&Arc<Account>| !account.is_withdrawn() || account.counters.routed.get() > 0;
            kept.accounts.values().filter(is_shown).cloned().collect()
        };
        let mut read: Vec<_> = accounts.iter().map(|account| (account.id.clone(), account.counters.read())).collect();
        read.sort_unstable_by(|one, other| one.0.cmp(&other.0));
        read
    }
}

impl Kept {
    fn account(&mut self, id: &str) -> Arc<Account> {
        if let Some(account) = self.accounts.get(id) {
            return Arc::clone(account);
        }
        let account = Arc::new(Account {
            id: id.to_owned(),
            slot: self.slots,
            counters: ClientCounters::default(),
            withdrawn: AtomicBool::new(false),
        });
        self.slots += 1;
        self.accounts.insert(id.to_owned(), Arc::clone(&account));
        account
    }
}

/// An empty list has no entry to make.
fn unreachable_entry<T>() -> T {
    unreachable!("an empty client list has no entries")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(ids: &[&str]) -> ClientList {
        let entries: Vec<String> = ids.iter().map(|id| format!(r#"{{"id": "{id}"}}"#)).collect();
        ClientList::from_json(format!(r#"{{"clients": [{}]}}"#, entries.join(",")).as_bytes()).unwrap()
    }

    #[test]
    fn an_account_outlives_its_entry_if_it_had_lines() {
        let front = Front::of_nobody();
        let wants = |id: &str| front.get().unwrap().wanted.has(id.as_bytes()) == Some(true);
        let routes = Routes::new(Arc::clone(&front));
        routes.replace(list(&["used", "idle"]));
        let account = Arc::clone(&routes.table().get(b"used").unwrap().account);
        account.counters.routed.add(1);
        routes.replace(list(&["new"]));
        assert!(account.is_withdrawn() && !wants("used") && wants("new"));
        let ids: Vec<String> = routes.accounts().into_iter().map(|(id, _)| id).collect();
        assert_eq!(ids, ["new", "used"]);
        routes.replace(list(&["used"]));
        assert!(!account.is_withdrawn());
        assert!(Arc::ptr_eq(&account, &routes.table().get(b"used").unwrap().account));
    }
}
