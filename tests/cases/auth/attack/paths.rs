//! Paths and methods that mean something else to who reads them twice.

use super::three;

const METHODS: [&str; 9] = [
    "GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE", "BREW",
];

#[test]
fn no_spelling_of_a_path_leads_where_one_may_not() {
    let guarded = three();
    let (digest, _) = guarded.secrets();
    let paths = [
        "/v2/private/ann/x/tags/list",
        "/v2/private/ann/x/tags/list/",
        "/v2/private/ann/x/tags/list//",
        "/v2/private/ann/x//tags/list",
        "/v2//private/ann/x/tags/list",
        "//v2/private/ann/x/tags/list",
        "/v2/./private/ann/x/tags/list",
        "/v2/public/../private/ann/x/tags/list",
        "/v2/team/x/../../private/ann/x/tags/list",
        "/v2/public/%2e%2e/private/ann/x/tags/list",
        "/v2/public%2f..%2fprivate/ann/x/tags/list",
        "/v2/public%252f..%252fprivate/ann/x/tags/list",
        "/v2/public/%252e%252e/private/ann/x/tags/list",
        "/v2/private%2Fann%2Fx/tags/list",
        "/v2/private%252Fann%252Fx/tags/list",
        "/v2/%70rivate/ann/x/tags/list",
        "/v2/PRIVATE/ann/x/tags/list",
        "/V2/private/ann/x/tags/list",
        "/v2%2fprivate/ann/x/tags/list",
        "/v2/private/ann/x;team/tags/list",
        "/v2/private/ann/x%00/tags/list",
        "/v2/private/ann/x%20/tags/list",
        "/v2/private\\ann\\x/tags/list",
        "/v2/private/ann/x/manifests/secret-tag",
        "/v2/team/x/manifests/..%2f..%2f..%2fprivate%2fann%2fx%2fmanifests%2fsecret-tag",
        "/v2/team/x/blobs/uploads/..%2f..%2f..%2f..%2fprivate",
        "/v2/public/tags/list/../../../private/ann/x/tags/list",
    ];
    for path in paths {
        for user in [None, Some("bob")] {
            let Some(answer) = guarded.call(user, "GET", path).try_send() else {
                continue;
            };
            let what = format!("{user:?} {path}: {}", answer.status);
            assert!((300..500).contains(&answer.status), "{what}");
            let text = answer.text();
            assert!(
                !text.contains("secret-tag") || text.contains("errors"),
                "{what}: {text}"
            );
            assert!(!text.contains(&digest), "{what}");
        }
    }
    // The ones that mean the same do: to her.
    for path in [
        paths[0],
        "/v2/private%2Fann%2Fx/tags/list",
        "/v2/%70rivate/ann/x/tags/list",
    ] {
        let answer = guarded.send("ann", "GET", path).expect_status(200);
        assert!(answer.text().contains("secret-tag"));
        guarded.send("bob", "GET", path).expect_status(403);
    }
}

#[test]
fn no_method_leads_where_one_may_not() {
    let guarded = three();
    let (digest, blobs) = guarded.secrets();
    let blob = &blobs[0];
    let paths = [
        "/v2/private/ann/x/tags/list".to_owned(),
        "/v2/private/ann/x/manifests/secret-tag".to_owned(),
        format!("/v2/private/ann/x/manifests/{digest}"),
        format!("/v2/private/ann/x/blobs/{blob}"),
        format!("/v2/private/ann/x/referrers/{digest}"),
        "/v2/private/ann/x/blobs/uploads/".to_owned(),
        "/v2/private/ann/x/blobs/uploads/some-id".to_owned(),
    ];
    for path in &paths {
        for method in METHODS {
            for (user, status) in [(None, 401), (Some("bob"), 403)] {
                let answer = guarded.call(user, method, path).send();
                assert_eq!(answer.status, status, "{user:?} {method} {path}");
            }
        }
    }
    // Pulling is not pushing, and neither is deleting.
    for method in METHODS {
        let answer = guarded
            .call(Some("bob"), method, "/v2/public/x/manifests/v1")
            .send();
        let expected = match method {
            "GET" | "HEAD" => 404,
            "OPTIONS" => 200,
            _ => 403,
        };
        assert_eq!(answer.status, expected, "{method}");
    }
}
