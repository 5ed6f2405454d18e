//! Guessing passwords: limited for each client, wherever it says that it is.

use roadstead_tests::{Answer, Options};

use super::super::{Guarded, guarded_with};
use super::basic;

/// More than a client has for one user. They are made at once: each answer is held back for a second.
const GUESSES: usize = 14;

impl Guarded {
    /// Guesses at ann's password, all at once, each with the header that `from` gives it.
    fn guess(&self, first: usize, from: impl Fn(usize) -> String + Sync) -> Vec<Answer> {
        let guess = |nth: usize| {
            let login = format!("ann:guess-{nth}");
            let login = {
                use base64::Engine as _;
                base64::engine::general_purpose::STANDARD.encode(login)
            };
            let call = self.call(None, "GET", "/v2/");
            call.header("authorization", &format!("Basic {login}"))
                .header("x-forwarded-for", &from(nth))
                .send()
        };
        let mut answers = Vec::new();
        std::thread::scope(|scope| {
            let guess = &guess;
            let mut guesses = Vec::new();
            for nth in first..first + GUESSES {
                guesses.push(scope.spawn(move || guess(nth)));
            }
            for guess in guesses {
                answers.push(guess.join().expect("an answer"));
            }
        });
        answers
    }

    fn login(&self, from: &str) -> u16 {
        let call = self.call(None, "GET", "/v2/");
        let call = call.header("authorization", &basic("ann"));
        call.header("x-forwarded-for", from).send().status
    }
}

#[track_caller]
fn assert_limited(answers: &[Answer]) {
    let count = |status| {
        answers
            .iter()
            .filter(|answer| answer.status == status)
            .count()
    };
    assert_eq!(count(401) + count(429), GUESSES);
    assert!(count(429) >= GUESSES - 11, "{}", count(429));
    for answer in answers.iter().filter(|answer| answer.status == 429) {
        let seconds: u64 = answer
            .expect_header("retry-after")
            .parse()
            .expect("seconds");
        assert!((1..=30).contains(&seconds), "{seconds}");
        assert_eq!(answer.codes(), ["TOOMANYREQUESTS"]);
    }
}

#[test]
fn behind_a_proxy_each_client_has_its_own_guesses() {
    let guarded = guarded_with(&["ann"], Options::default());
    // What a client writes there stands before what the proxy adds.
    assert_limited(&guarded.guess(0, |nth| format!("198.51.100.{nth}, 203.0.113.1")));
    let robot = guarded.login("203.0.113.1");
    assert_eq!(robot, 429, "whether the password is right is not looked at");
    assert_eq!(guarded.login("203.0.113.2"), 200, "others log in");
    // And from then on, what is known to be right costs nothing, and is not limited.
    assert_eq!(guarded.login("203.0.113.1"), 200);
    // IPv6: whoever has one address has the whole network.
    assert_limited(&guarded.guess(100, |nth| format!("2001:db8:1:2::{nth:x}")));
}

#[test]
fn who_is_not_trusted_cannot_say_whom_to_count_for() {
    let options = Options::default().yaml("proxies:\n  trusted: [192.0.2.1]");
    let guarded = guarded_with(&["ann"], options);
    assert_limited(&guarded.guess(0, |nth| format!("198.51.100.{nth}")));
    assert_eq!(guarded.login("203.0.113.9"), 429);
}
