//! How many connections each address and each user has on this instance: a bound on what one client can hold open.

use std::{
    collections::HashMap,
    hash::Hash,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use crate::ids::UserId;

/// Counts open connections.
#[derive(Debug)]
pub struct ConnectionCounts {
    by_ip: Mutex<HashMap<IpAddr, usize>>,
    by_user: Mutex<HashMap<UserId, usize>>,
    by_ip_max: usize,
    by_user_max: usize,
}

/// Who has too many connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crowded {
    /// The address.
    Ip,
    /// The user.
    User,
}

/// A counted connection; uncounted when dropped.
#[derive(Debug)]
pub struct Counted {
    counts: Arc<ConnectionCounts>,
    ip: IpAddr,
    user: UserId,
}

impl ConnectionCounts {
    /// Nobody is connected.
    pub fn new(by_ip_max: usize, by_user_max: usize) -> Arc<Self> {
        Arc::new(Self { by_ip: Mutex::default(), by_user: Mutex::default(), by_ip_max, by_user_max })
    }

    /// Counts a connection, if there may be one more.
    ///
    /// # Errors
    /// Whose limit is reached.
    pub fn count(self: &Arc<Self>, ip: IpAddr, user: UserId) -> Result<Counted, Crowded> {
        if !add(&self.by_ip, ip, self.by_ip_max) {
            return Err(Crowded::Ip);
        }
        if !add(&self.by_user, user.clone(), self.by_user_max) {
            remove(&self.by_ip, &ip);
            return Err(Crowded::User);
        }
        Ok(Counted { counts: Arc::clone(self), ip, user })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        remove(&self.counts.by_ip, &self.ip);
        remove(&self.counts.by_user, &self.user);
    }
}

fn add<K: Hash + Eq>(counts: &Mutex<HashMap<K, usize>>, key: K, max: usize) -> bool {
    let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
    let count = counts.entry(key).or_insert(0);
    let free = *count < max;
    *count += usize::from(free);
    free
}

fn remove<K: Hash + Eq>(counts: &Mutex<HashMap<K, usize>>, key: &K) {
    let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_holds_and_a_place_is_free_again_after_the_end() {
        let counts = ConnectionCounts::new(2, 1);
        let ip = IpAddr::from([127, 0, 0, 1]);
        let user = |name: &str| name.parse::<UserId>().unwrap();
        let ada = counts.count(ip, user("ada")).unwrap();
        assert_eq!(counts.count(ip, user("ada")).unwrap_err(), Crowded::User);
        let _bob = counts.count(ip, user("bob")).unwrap();
        assert_eq!(counts.count(ip, user("cyd")).unwrap_err(), Crowded::Ip);
        drop(ada);
        assert!(counts.count(ip, user("ada")).is_ok());
        assert_eq!(counts.by_user.lock().unwrap().len(), 1, "who is gone is not remembered");
    }
}
