//! What a certification authority is answered that asks by HTTP whether a name leads here (RFC 8555, section 8.3).

use std::sync::Arc;

use axum::extract::Path;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};

/// Says what is to be found under a token.
type Answer = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// Answers under `/.well-known/acme-challenge/`, and nothing else.
pub fn challenges(answer: Answer) -> axum::Router {
    let path = "/.well-known/acme-challenge/{token}";
    let route = get(move |Path(token): Path<String>| std::future::ready(found(answer(&token))));
    axum::Router::new().route(path, route)
}

fn found(answer: Option<String>) -> Response {
    let Some(answer) = answer else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let kind = HeaderValue::from_static("application/octet-stream");
    ([(CONTENT_TYPE, kind)], answer).into_response()
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use http::{Method, Request};
    use tower::ServiceExt as _;

    use super::*;

    async fn status(method: Method, path: &str) -> StatusCode {
        let answer = |token: &str| (token == "token").then(|| "token.thumbprint".to_owned());
        let request = Request::builder().method(method).uri(path);
        let request = request.body(Body::empty()).unwrap();
        let answered = challenges(Arc::new(answer)).oneshot(request).await;
        answered.unwrap().status()
    }

    #[tokio::test]
    async fn only_what_is_known_is_told() {
        let below = |token: &str| format!("/.well-known/acme-challenge/{token}");
        assert_eq!(status(Method::GET, &below("token")).await, StatusCode::OK);
        for path in [
            below("other"),
            below(""),
            below("token/x"),
            "/v2/".to_owned(),
        ] {
            assert_eq!(
                status(Method::GET, &path).await,
                StatusCode::NOT_FOUND,
                "{path}"
            );
        }
        let put = status(Method::PUT, &below("token")).await;
        assert_eq!(put, StatusCode::METHOD_NOT_ALLOWED);
    }
}
