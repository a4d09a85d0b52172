//! The control plane's page: one static file, served from memory by the admin listener.

use axum::response::Html;

/// `GET /`: what is registered, who is connected, which policies are in force.
pub(crate) async fn page() -> Html<&'static str> {
    Html(include_str!("../../ui/index.html"))
}
