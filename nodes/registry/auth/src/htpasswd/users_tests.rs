//! Work that passwords cost, counted, and what guessing leads to.

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, mpsc};

use tokio::time::Instant;
use zeroize::Zeroizing;

use super::*;
use crate::options::VerifyLimits;

/// The cheapest there is.
const COST: u32 = 4;
const DEADLINE: Duration = Duration::from_secs(30);

struct Fixture {
    directory: tempfile::TempDir,
    users: Users,
    /// The costs of the hashes that passwords were tried on.
    work: Arc<Mutex<Vec<u32>>>,
}

fn options(directory: &tempfile::TempDir) -> HtpasswdOptions {
    let mut options = HtpasswdOptions::new("realm", directory.path().join("htpasswd"));
    options.guesses.per_user = 3;
    options.guesses.per_client = 5;
    options
}

/// The users ann and bob with the password `secret`.
fn fixture(change: impl FnOnce(&mut HtpasswdOptions)) -> Fixture {
    let work = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&work);
    fixture_with(change, work, move |password, hash| {
        noted.lock().unwrap().push(hash.cost());
        hash.fits(password)
    })
}

fn fixture_with(
    change: impl FnOnce(&mut HtpasswdOptions),
    work: Arc<Mutex<Vec<u32>>>,
    check: impl Fn(&str, &Hash) -> bool + Send + Sync + 'static,
) -> Fixture {
    let directory = tempfile::tempdir().unwrap();
    let mut options = options(&directory);
    change(&mut options);
    write(&directory, &[("ann", "secret"), ("bob", "secret")]);
    let users = Users::open_with(&options, Arc::new(check)).unwrap();
    Fixture {
        directory,
        users,
        work,
    }
}

fn write(directory: &tempfile::TempDir, users: &[(&str, &str)]) {
    let lines = users
        .iter()
        .map(|(user, password)| format!("{user}:{}\n", Hash::of(password, COST).unwrap().as_str()));
    fs::write(directory.path().join("htpasswd"), lines.collect::<String>()).unwrap();
}

impl Fixture {
    async fn from(&self, client: &str, user: &str, password: &str) -> Result<String, Refused> {
        let credentials = Credentials {
            user: user.to_owned(),
            password: Zeroizing::new(password.to_owned()),
        };
        let checked = self.users.check(credentials, client.parse().unwrap());
        checked.await.map(|user| user.name)
    }

    async fn login(&self, user: &str, password: &str) -> Result<String, Refused> {
        self.from("192.0.2.1", user, password).await
    }

    fn work(&self) -> usize {
        self.work.lock().unwrap().len()
    }
}

fn is_too_often(result: &Result<String, Refused>) -> bool {
    matches!(result, Err(Refused::TooOften { .. }))
}

#[tokio::test]
async fn a_pull_of_a_hundred_layers_costs_one_verification() {
    let it = fixture(|_| {});
    let together = futures::future::join_all((0..100).map(|_| it.login("ann", "secret"))).await;
    assert!(together.iter().all(|one| *one == Ok("ann".to_owned())));
    for _ in 0..100 {
        assert_eq!(it.login("ann", "secret").await, Ok("ann".to_owned()));
        assert!(it.from("198.51.100.7", "ann", "secret").await.is_ok());
    }
    assert_eq!(it.work(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_wrong_password_costs_a_delay_and_a_right_one_none() {
    let it = fixture(|_| {});
    let start = Instant::now();
    it.login("ann", "secret").await.unwrap();
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(it.login("ann", "Secret").await, Err(Refused::Wrong));
    assert_eq!(start.elapsed().as_secs(), 1);
    assert_eq!(it.login("ann", "Secret").await, Err(Refused::Wrong));
    assert_eq!(start.elapsed().as_secs(), 2);
    assert_eq!(it.work(), 2);
}

#[tokio::test(start_paused = true)]
async fn strangers_cost_what_users_cost() {
    let it = fixture(|_| {});
    for user in ["ann", "nobody", "", "ANN"] {
        let start = Instant::now();
        assert_eq!(it.login(user, "wrong").await, Err(Refused::Wrong), "{user}");
        assert_eq!(start.elapsed().as_secs(), 1, "{user}");
    }
    assert_eq!(*it.work.lock().unwrap(), [COST; 4]);
}

/// Even if a password fitted the hash that stands in for a stranger's.
#[tokio::test(start_paused = true)]
async fn strangers_are_strangers_whatever_fits() {
    let it = fixture_with(|_| {}, Arc::default(), |_, _| true);
    assert!(it.login("ann", "anything").await.is_ok());
    assert_eq!(it.login("nobody", "anything").await, Err(Refused::Wrong));
    assert_eq!(it.login("nobody", "anything").await, Err(Refused::Wrong));
}

#[tokio::test(start_paused = true)]
async fn guessing_ends_and_the_neighbours_go_on() {
    let it = fixture(|_| {});
    assert!(it.login("bob", "secret").await.is_ok());
    for guess in ["a", "b", "c"] {
        assert_eq!(it.login("ann", guess).await, Err(Refused::Wrong));
    }
    let told = it.login("ann", "d").await;
    assert!(is_too_often(&told), "{told:?}");
    assert_eq!(it.work(), 4);
    // The same address: known credentials, another user's, and then ann's own after a while.
    assert!(it.login("bob", "secret").await.is_ok());
    assert!(is_too_often(&it.login("ann", "secret").await));
    assert!(it.from("2001:db8::1", "ann", "secret").await.is_ok());
    let other = fixture(|_| {});
    for guess in ["a", "b", "c", "d"] {
        drop(other.login("ann", guess).await);
    }
    assert!(other.login("bob", "secret").await.is_ok());
    let Err(Refused::TooOften { retry_after }) = other.login("ann", "secret").await else {
        panic!("ann is let in at once");
    };
    tokio::time::advance(retry_after).await;
    assert!(other.login("ann", "secret").await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_client_s_guesses_are_limited_over_all_users() {
    let it = fixture(|_| {});
    let mut guesses = Vec::new();
    for user in 0..10 {
        guesses.push(it.login(&format!("user{user}"), "guess").await);
    }
    assert!(is_too_often(&guesses[9]));
    assert!(it.work() < 10);
}

#[tokio::test(start_paused = true)]
async fn a_robot_with_an_old_password_does_not_lock_its_owner_out() {
    let it = fixture(|_| {});
    let mut answers = Vec::new();
    for _ in 0..50 {
        answers.push(it.login("ann", "old").await);
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    assert_eq!(answers[0], Err(Refused::Wrong));
    assert!(answers.iter().any(is_too_often));
    assert_eq!(it.work(), 1);
    assert!(it.login("ann", "secret").await.is_ok());
}

#[tokio::test]
async fn a_changed_file_is_in_force_at_once() {
    let it = fixture(|options| options.guesses.delay = Duration::ZERO);
    assert!(it.login("ann", "secret").await.is_ok());
    write(&it.directory, &[("ann", "new"), ("eve", "secret")]);
    assert_eq!(it.login("ann", "secret").await, Err(Refused::Wrong));
    assert_eq!(it.login("bob", "secret").await, Err(Refused::Wrong));
    assert!(it.login("ann", "new").await.is_ok());
    assert!(it.login("eve", "secret").await.is_ok());
    fs::write(it.directory.path().join("htpasswd"), "ann:$apr1$x").unwrap();
    assert!(it.login("ann", "new").await.is_ok());
    write(&it.directory, &[("bob", "secret")]);
    assert_eq!(it.login("ann", "new").await, Err(Refused::Wrong));
    // He was told that his password is wrong: that was of another file.
    assert!(it.login("bob", "secret").await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn what_is_remembered_is_forgotten() {
    let it = fixture(|options| {
        options.verify.remembered = 1;
        options.verify.remembered_for = Duration::from_mins(1);
    });
    assert!(it.login("ann", "secret").await.is_ok());
    tokio::time::advance(Duration::from_secs(59)).await;
    assert!(it.login("ann", "secret").await.is_ok());
    assert_eq!(it.work(), 1);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(it.login("ann", "secret").await.is_ok());
    assert_eq!(it.work(), 2);
    // Wrong ones displace no right one; other right ones do.
    drop(it.login("bob", "wrong").await);
    assert!(it.login("ann", "secret").await.is_ok());
    assert_eq!(it.work(), 3);
    assert!(it.login("bob", "secret").await.is_ok());
    assert!(it.login("ann", "secret").await.is_ok());
    assert_eq!(it.work(), 5);
}

/// A check that waits to be let go on, one message for each.
fn held(limits: VerifyLimits) -> (Fixture, mpsc::Receiver<()>, mpsc::Sender<()>) {
    let (began_in, began) = mpsc::channel();
    let (go, go_on) = mpsc::channel::<()>();
    let go_on = Mutex::new(go_on);
    let it = fixture_with(
        |options| {
            options.verify = limits;
            options.guesses.delay = Duration::ZERO;
        },
        Arc::default(),
        move |password, hash| {
            began_in.send(()).unwrap();
            go_on.lock().unwrap().recv_timeout(DEADLINE).unwrap();
            hash.fits(password)
        },
    );
    (it, began, go)
}

#[tokio::test]
async fn work_is_bounded_and_what_comes_beyond_is_told() {
    let (it, began, go) = held(VerifyLimits {
        at_once: 1,
        waiting: 2,
        ..VerifyLimits::default()
    });
    go.send(()).unwrap();
    assert!(it.login("ann", "secret").await.is_ok());
    began.recv_timeout(DEADLINE).unwrap();
    let (first, second) = (it.login("bob", "1"), it.login("bob", "2"));
    let beyond = async {
        let both_wait = async {
            while it.users.verifier.under_way() < 2 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let both_wait = tokio::time::timeout(DEADLINE, both_wait).await;
        both_wait.expect("two of bob's passwords wait");
        assert_eq!(it.login("bob", "3").await, Err(Refused::Busy));
        // Those who are known pass by all of them.
        assert!(it.login("ann", "secret").await.is_ok());
        go.send(()).unwrap();
        go.send(()).unwrap();
    };
    let (first, second, ()) = futures::join!(first, second, beyond);
    assert_eq!((first, second), (Err(Refused::Wrong), Err(Refused::Wrong)));
    go.send(()).unwrap();
    assert_eq!(it.login("bob", "3").await, Err(Refused::Wrong));
}

#[tokio::test]
async fn work_that_was_given_up_is_not_lost() {
    let (it, began, go) = held(VerifyLimits::default());
    let begun = tokio::task::spawn_blocking(move || {
        began.recv_timeout(DEADLINE).unwrap();
        began
    });
    let login = std::pin::pin!(it.login("ann", "secret"));
    let began = match futures::future::select(login, begun).await {
        futures::future::Either::Left((login, _)) => panic!("{login:?} before the check was done"),
        futures::future::Either::Right((began, _given_up)) => began.unwrap(),
    };
    go.send(()).unwrap();
    assert!(it.login("ann", "secret").await.is_ok());
    assert!(began.try_recv().is_err(), "it was done twice");
}

#[tokio::test]
async fn a_check_that_fails_lets_nobody_in_and_can_be_repeated() {
    let tries = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&tries);
    let it = fixture_with(
        |_| {},
        Arc::default(),
        move |password, hash| {
            assert!(
                counted.fetch_add(1, Ordering::SeqCst) > 0,
                "the first one fails"
            );
            hash.fits(password)
        },
    );
    assert_eq!(it.login("ann", "secret").await, Err(Refused::Busy));
    assert!(it.login("ann", "secret").await.is_ok());
    assert_eq!(tries.load(Ordering::SeqCst), 2);
}

#[test]
fn fingerprints_tell_texts_apart() {
    let (one, other) = (Secret::new().unwrap(), Secret::new().unwrap());
    assert_eq!(one.fingerprint(&["a", "bc"]), one.fingerprint(&["a", "bc"]));
    assert_ne!(one.fingerprint(&["a", "bc"]), one.fingerprint(&["ab", "c"]));
    assert_ne!(
        one.fingerprint(&["a", "bc"]),
        other.fingerprint(&["a", "bc"])
    );
    assert_eq!(format!("{one:?}"), "Secret");
}
