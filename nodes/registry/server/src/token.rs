//! What a client holds of an upload session: its id, and the state that it sends back.
//!
//! The id is a UUID (version 8) that carries its time and a MAC over the repository, so that a session needs no record
//! before the first byte. `_state` is the reference's: base64url with padding over an HMAC-SHA256 and a JSON document.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use hmac::{Hmac, KeyInit as _, Mac as _};
use roadstead_metadata::{Origin, SessionId, Timestamp};
use roadstead_oci::{Algorithm, Name};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Ids count minutes from here, 2024-01-01, in 24 bits: until 2055.
const EPOCH: Timestamp = Timestamp(1_704_067_200_000);
const MINUTE: u64 = 60_000;
const MAC_AT: usize = 10;
const HMAC_LEN: usize = 32;

/// Mints and checks ids and states.
#[derive(Clone)]
pub(crate) struct Tokens {
    ids: Hmac<Sha256>,
    states: Hmac<Sha256>,
}

/// What `_state` says. The first four fields are the reference's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) offset: u64,
    pub(crate) algorithm: Algorithm,
}

#[derive(Serialize, Deserialize)]
struct Document {
    #[serde(rename = "Name")]
    name: String,
    #[serde(rename = "UUID")]
    uuid: String,
    #[serde(rename = "Offset")]
    offset: u64,
    #[serde(rename = "StartedAt")]
    started_at: String,
    #[serde(rename = "Algorithm", default, skip_serializing_if = "Option::is_none")]
    algorithm: Option<String>,
}

impl Tokens {
    pub(crate) fn new(secret: &[u8]) -> Self {
        let states = keyed(secret);
        // A key of its own, so that no state can ever pass for an id.
        let ids = keyed(
            &states
                .clone()
                .chain_update(b"upload session id")
                .finalize()
                .into_bytes(),
        );
        Self { ids, states }
    }

    /// A key for another purpose, which the label names. Those of sessions cannot be found from it, nor it from theirs.
    pub(crate) fn key_for(&self, label: &str) -> [u8; HMAC_LEN] {
        let mac = self.states.clone().chain_update(b"key for ");
        mac.chain_update(label.as_bytes())
            .finalize()
            .into_bytes()
            .into()
    }

    /// A new session's origin.
    pub(crate) fn mint(&self, repository: &Name, now: Timestamp) -> Origin {
        let minutes = now.0.saturating_sub(EPOCH.0) / MINUTE;
        let mut id = [0; 16];
        id[0..3].copy_from_slice(&minutes.to_be_bytes()[5..8]);
        id[3..MAC_AT].copy_from_slice(&random::<7>());
        id[6] = 0x80 | (id[6] & 0x0f);
        id[8] = 0x80 | (id[8] & 0x3f);
        let mac = self.id_mac(&id, repository);
        id[MAC_AT..].copy_from_slice(&mac);
        origin(id, repository)
    }

    /// Whether the id is one of ours for this repository, as nobody else could have made it.
    pub(crate) fn is_minted(&self, origin: &Origin) -> bool {
        let id = &origin.session.0;
        let mac = self.id_mac(id, &origin.repository);
        let difference = mac
            .iter()
            .zip(&id[MAC_AT..])
            .fold(0, |all, (a, b)| all | (a ^ b));
        difference == 0
    }

    fn id_mac(&self, id: &[u8; 16], repository: &Name) -> [u8; 6] {
        let mac = self
            .ids
            .clone()
            .chain_update(&id[..MAC_AT])
            .chain_update(repository.as_str().as_bytes());
        let mut cut = [0; 6];
        cut.copy_from_slice(&mac.finalize().into_bytes()[..6]);
        cut
    }

    pub(crate) fn sign(&self, origin: &Origin, state: &State) -> String {
        let document = Document {
            name: origin.repository.to_string(),
            uuid: origin.session.to_string(),
            offset: state.offset,
            started_at: rfc3339(origin.opened),
            algorithm: (state.algorithm != Algorithm::CANONICAL)
                .then(|| state.algorithm.to_string()),
        };
        let json = serde_json::to_vec(&document).unwrap_or_default();
        let mut signed = self
            .states
            .clone()
            .chain_update(&json)
            .finalize()
            .into_bytes()
            .to_vec();
        signed.extend_from_slice(&json);
        URL_SAFE.encode(signed)
    }

    /// The state, if we signed it for this session.
    pub(crate) fn verify(&self, origin: &Origin, state: &str) -> Option<State> {
        let signed = URL_SAFE.decode(state).ok()?;
        let (mac, json) = signed.split_at_checked(HMAC_LEN)?;
        self.states
            .clone()
            .chain_update(json)
            .verify_slice(mac)
            .ok()?;
        let document: Document = serde_json::from_slice(json).ok()?;
        let ours = document.name == origin.repository.as_str()
            && document.uuid == origin.session.to_string();
        let algorithm = document
            .algorithm
            .map_or(Ok(Algorithm::CANONICAL), |named| named.parse())
            .ok()?;
        ours.then_some(State {
            offset: document.offset,
            algorithm,
        })
    }
}

/// The origin that an id tells of, as long as it [is ours](Tokens::is_minted).
pub(crate) fn origin(id: [u8; 16], repository: &Name) -> Origin {
    let minutes = u64::from(u32::from_be_bytes([0, id[0], id[1], id[2]]));
    let opened = EPOCH.plus(Duration::from_millis(minutes * MINUTE));
    Origin {
        session: SessionId(id),
        repository: repository.clone(),
        opened,
    }
}

/// Reads an id as it stands in a path.
pub(crate) fn parse_id(text: &str) -> Option<[u8; 16]> {
    let id = uuid::Uuid::try_parse(text).ok()?;
    // One spelling for one session.
    (id.hyphenated().to_string() == text).then(|| id.into_bytes())
}

/// Random bytes from the operating system.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system gives random numbers");
    bytes
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("an HMAC takes a key of any length")
}

fn rfc3339(time: Timestamp) -> String {
    let nanos = i128::from(time.0) * 1_000_000;
    let time =
        OffsetDateTime::from_unix_timestamp_nanos(nanos).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    time.format(&Rfc3339).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    const NOW: Timestamp = Timestamp(1_790_000_000_000);

    #[test]
    fn an_id_is_a_uuid_that_tells_its_time_and_belongs_to_its_repository() {
        let tokens = Tokens::new(b"secret");
        let origin = tokens.mint(&name("a/b"), NOW);
        let text = origin.session.to_string();
        assert_eq!(parse_id(&text), Some(origin.session.0));
        assert_eq!(uuid::Uuid::parse_str(&text).unwrap().get_version_num(), 8);
        assert!(NOW.0 - origin.opened.0 < MINUTE);
        assert!(tokens.is_minted(&origin));
        assert!(!tokens.is_minted(&super::origin(origin.session.0, &name("a/c"))));
        assert!(!Tokens::new(b"other").is_minted(&origin));
        for bit in 0..128 {
            let mut forged = origin.session.0;
            forged[bit / 8] ^= 1 << (bit % 8);
            assert!(
                !tokens.is_minted(&super::origin(forged, &name("a/b"))),
                "bit {bit}"
            );
        }
    }

    #[test]
    fn a_state_is_good_for_its_session_alone() {
        let tokens = Tokens::new(b"secret");
        let (one, two) = (
            tokens.mint(&name("a/b"), NOW),
            tokens.mint(&name("a/b"), NOW),
        );
        for algorithm in Algorithm::ALL {
            let state = State {
                offset: 7,
                algorithm,
            };
            let signed = tokens.sign(&one, &state);
            assert_eq!(tokens.verify(&one, &signed), Some(state));
            assert_eq!(tokens.verify(&two, &signed), None);
            assert_eq!(Tokens::new(b"other").verify(&one, &signed), None);
            assert_eq!(
                tokens.verify(&one, &signed.replace('=', "")).is_none(),
                signed.contains('=')
            );
        }
        for nonsense in ["", "AAAA", "ä", "===="] {
            assert_eq!(tokens.verify(&one, nonsense), None);
        }
    }

    #[test]
    fn a_state_reads_as_the_references() {
        let tokens = Tokens::new(b"secret");
        let origin = tokens.mint(&name("a/b"), NOW);
        let signed = URL_SAFE
            .decode(tokens.sign(
                &origin,
                &State {
                    offset: 7,
                    algorithm: Algorithm::Sha256,
                },
            ))
            .unwrap();
        let json = String::from_utf8(signed[HMAC_LEN..].to_vec()).unwrap();
        let expected = format!(
            r#"{{"Name":"a/b","UUID":"{}","Offset":7,"StartedAt":"{}"}}"#,
            origin.session,
            rfc3339(origin.opened)
        );
        assert_eq!(json, expected);
    }

    #[test]
    fn keys_for_other_purposes_differ_by_label_and_secret() {
        let key = |secret: &[u8], label| Tokens::new(secret).key_for(label);
        assert_eq!(key(b"secret", "a"), key(b"secret", "a"));
        assert_ne!(key(b"secret", "a"), key(b"secret", "b"));
        assert_ne!(key(b"secret", "a"), key(b"other", "a"));
    }

    #[test]
    fn ids_in_paths_have_one_spelling() {
        for wrong in [
            "",
            "x",
            "0192a8d0-1234-8abc-8def-0123456789AB",
            "0192a8d012348abc8def0123456789ab",
        ] {
            assert_eq!(parse_id(wrong), None, "{wrong}");
        }
    }
}
