//! How often a client may be wrong.
//!
//! Each client has an allowance for all users together and one for each user, which fill again with time. What one
//! robot uses up for its user leaves the rest of an office, which has the same address, able to log in.

use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::Mutex;
use std::time::Duration;

use lru::LruCache;
use tokio::time::Instant;

use crate::options::GuessLimits;

/// Stands for a user, or for credentials, without holding them.
pub(crate) type Fingerprint = [u8; 32];

/// Who is behind an address, as well as an address tells: of IPv6, everybody has 2^64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Client {
    V4([u8; 4]),
    V6([u8; 8]),
}

impl From<IpAddr> for Client {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address.octets()),
            IpAddr::V6(address) => {
                let network = address.octets().first_chunk().copied();
                Self::V6(network.unwrap_or_default())
            }
        }
    }
}

/// Wrong credentials, counted. Bounded: the client that was wrong longest ago is forgotten first.
#[derive(Debug)]
pub(crate) struct Limiter {
    limits: GuessLimits,
    tables: Mutex<Tables>,
}

#[derive(Debug)]
struct Tables {
    clients: LruCache<Client, Allowance>,
    users: LruCache<(Client, Fingerprint), Allowance>,
}

impl Limiter {
    pub(crate) fn new(limits: GuessLimits) -> Self {
        let size = NonZeroUsize::new(limits.table).unwrap_or(NonZeroUsize::MIN);
        Self {
            // None at all would let nobody in, right or wrong.
            limits: GuessLimits {
                per_user: limits.per_user.max(1),
                per_client: limits.per_client.max(1),
                ..limits
            },
            tables: Mutex::new(Tables {
                clients: LruCache::new(size),
                users: LruCache::new(size),
            }),
        }
    }

    /// Takes from the client's allowance, and from the one for this user; says how long to wait where either is used up.
    /// Credentials that turn out right give it back.
    pub(crate) fn take(&self, client: Client, user: Fingerprint) -> Result<(), Duration> {
        let now = Instant::now();
        let mut tables = self.lock();
        let all = tables.clients.get(&client).copied().unwrap_or_default();
        let one = tables.users.get(&(client, user)).copied();
        let one = one.unwrap_or_default();
        let all = all.taken(now, self.limits.per_client, self.limits.per_client_every)?;
        let one = one.taken(now, self.limits.per_user, self.limits.per_user_every)?;
        tables.clients.put(client, all);
        tables.users.put((client, user), one);
        Ok(())
    }

    /// The credentials were right.
    pub(crate) fn give_back(&self, client: Client, user: Fingerprint) {
        let mut tables = self.lock();
        if let Some(all) = tables.clients.get_mut(&client) {
            all.give_back(self.limits.per_client_every);
        }
        if let Some(one) = tables.users.get_mut(&(client, user)) {
            one.give_back(self.limits.per_user_every);
        }
    }

    /// Credentials that are known to be wrong, once more. They cost no work and nothing of the allowance for
    /// others, so that a robot with an old password does not use up what its owner needs.
    pub(crate) fn repeat(&self, client: Client, wrong: Fingerprint) -> Result<(), Duration> {
        let now = Instant::now();
        let mut tables = self.lock();
        let key = (client, wrong);
        let one = tables.users.get(&key).copied().unwrap_or_default();
        let one = one.taken(now, self.limits.per_user, self.limits.per_user_every)?;
        tables.users.put(key, one);
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Tables> {
        self.tables
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// An allowance, as the time at which it is whole again.
#[derive(Debug, Clone, Copy, Default)]
struct Allowance {
    whole: Option<Instant>,
}

impl Allowance {
    /// One less, of `most`, each of which takes `every` to come back; or how long that takes.
    fn taken(self, now: Instant, most: u32, every: Duration) -> Result<Self, Duration> {
        let missing = self
            .whole
            .map_or(Duration::ZERO, |whole| whole.saturating_duration_since(now));
        let missing = missing.saturating_add(every);
        let allowed = every.saturating_mul(most);
        if missing > allowed {
            return Err(missing.saturating_sub(allowed));
        }
        Ok(Self {
            whole: now.checked_add(missing),
        })
    }

    fn give_back(&mut self, every: Duration) {
        self.whole = self.whole.and_then(|whole| whole.checked_sub(every));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: GuessLimits = GuessLimits {
        delay: Duration::ZERO,
        per_user: 2,
        per_user_every: Duration::from_secs(30),
        per_client: 3,
        per_client_every: Duration::from_secs(10),
        table: 100,
    };

    fn client(text: &str) -> Client {
        text.parse::<IpAddr>().unwrap().into()
    }

    #[tokio::test(start_paused = true)]
    async fn a_user_s_allowance_comes_back_with_time() {
        let limiter = Limiter::new(LIMITS);
        let office = client("192.0.2.1");
        assert!(limiter.take(office, [1; 32]).is_ok());
        assert!(limiter.take(office, [1; 32]).is_ok());
        assert_eq!(limiter.take(office, [1; 32]), Err(LIMITS.per_user_every));
        assert!(limiter.take(office, [2; 32]).is_ok());
        assert!(limiter.take(office, [3; 32]).is_err());
        assert!(limiter.take(client("192.0.2.2"), [1; 32]).is_ok());
        tokio::time::advance(Duration::from_secs(29)).await;
        assert_eq!(limiter.take(office, [1; 32]), Err(Duration::from_secs(1)));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(limiter.take(office, [1; 32]).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_refused_costs_nothing() {
        let limiter = Limiter::new(LIMITS);
        let office = client("192.0.2.1");
        for _ in 0..50 {
            let _taken_or_not = limiter.take(office, [1; 32]);
        }
        assert!(limiter.take(office, [2; 32]).is_ok());
        tokio::time::advance(LIMITS.per_user_every).await;
        assert!(limiter.take(office, [1; 32]).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn the_right_password_gives_back_and_repeats_take_from_nobody_else() {
        let limiter = Limiter::new(LIMITS);
        let office = client("192.0.2.1");
        for _ in 0..50 {
            limiter.take(office, [1; 32]).unwrap();
            limiter.give_back(office, [1; 32]);
        }
        assert!(limiter.repeat(office, [9; 32]).is_ok());
        assert!(limiter.repeat(office, [9; 32]).is_ok());
        assert!(limiter.repeat(office, [9; 32]).is_err());
        for user in 1..=3 {
            assert!(limiter.take(office, [user; 32]).is_ok());
        }
        assert!(limiter.take(office, [4; 32]).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn the_tables_are_bounded() {
        let limiter = Limiter::new(LIMITS);
        for at in 0..=255 {
            limiter
                .take(client(&format!("192.0.2.{at}")), [1; 32])
                .unwrap();
        }
        let tables = limiter.lock();
        assert_eq!((tables.clients.len(), tables.users.len()), (100, 100));
    }

    #[test]
    fn addresses_are_told_apart_as_far_as_they_tell() {
        assert_eq!(client("2001:db8::1"), client("2001:db8::ffff:1"));
        assert_ne!(client("2001:db8::1"), client("2001:db8:0:1::1"));
        assert_ne!(client("192.0.2.1"), client("192.0.2.2"));
        assert_eq!(client("::ffff:192.0.2.1"), client("192.0.2.1"));
        assert_ne!(client("::ffff:192.0.2.1"), client("::ffff:192.0.2.2"));
    }
}
