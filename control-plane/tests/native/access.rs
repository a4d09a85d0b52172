//! Tokens: open without any, closed by the first, each for its role and namespaces; writes carry their names.

use hyper::StatusCode;
use serde_json::{Value, json};

use crate::plane::{NOTHING, Plane};

const SHOP: &str = "/v1/namespaces/shop/policies/a";
const BANK: &str = "/v1/namespaces/bank/policies/a";

async fn make(plane: &Plane, secret: &str, words: Value) -> Result<String, StatusCode> {
    let bearer = format!("Bearer {secret}");
    let answer = plane.admin("POST", "/v1/tokens", &[("authorization", &bearer)], words).await;
    let made = |value: Value| value["secret"].as_str().unwrap().to_owned();
    if answer.status == StatusCode::OK { Ok(made(answer.json())) } else { Err(answer.status) }
}

/// The status of a write of policy `a` at `path`, whoever the request says it is from.
async fn write(plane: &Plane, secret: &str, path: &str) -> u16 {
    let bearer = format!("Bearer {secret}");
    let headers = [("authorization", bearer.as_str()), ("x-author", "somebody else")];
    let namespace = path.split('/').nth(3).unwrap();
    let body = json!({ "name": "a", "namespace": namespace, "retry": { "attempts": 2 } });
    plane.admin("PUT", path, &headers, body).await.status.as_u16()
}

#[tokio::test]
async fn the_first_token_closes_the_door_and_each_opens_it_for_its_own() {
    let plane = Plane::start().await;
    assert_eq!(write(&plane, "", SHOP).await, 200, "open while there is no token");
    let editor = json!({ "name": "shop-ed", "role": "editor", "namespaces": ["shop"] });
    assert_eq!(make(&plane, "", editor.clone()).await, Err(StatusCode::UNPROCESSABLE_ENTITY));
    let root = make(&plane, "", json!({ "name": "root", "role": "admin" })).await.unwrap();
    assert_eq!(make(&plane, "", editor.clone()).await, Err(StatusCode::UNAUTHORIZED));
    let editor = make(&plane, &root, editor).await.unwrap();

    for (secret, path, wanted) in [
        ("", SHOP, 401),
        ("guess", SHOP, 401),
        (&root, BANK, 200),
        (&editor, SHOP, 200),
        (&editor, BANK, 403),
    ] {
        assert_eq!(write(&plane, secret, path).await, wanted, "{secret} {path}");
    }
    assert_eq!(plane.admin("GET", "/v1/services", &[], NOTHING).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(plane.admin("GET", "/livez", &[], NOTHING).await.status, StatusCode::OK);
    assert_eq!(
        plane.node("GET", "/v1/services", NOTHING).await.status,
        StatusCode::OK,
        "readers are not asked"
    );

    // Tokens outlive the process, and their secrets are nowhere on its disk.
    let (directory, config) = plane.stop().await;
    for file in std::fs::read_dir(directory.path()).unwrap() {
        // The store's own passing files may go meanwhile, and what is gone says nothing.
        let Ok(bytes) = std::fs::read(file.unwrap().path()) else { continue };
        assert!(!bytes.windows(root.len()).any(|window| window == root.as_bytes()));
    }
    let plane = Plane::over(directory, config).await;
    assert_eq!(write(&plane, "", SHOP).await, 401);
    assert_eq!(write(&plane, &editor, SHOP).await, 200);
    let bearer = format!("Bearer {root}");
    let root = [("authorization", bearer.as_str())];
    let lines: Value = plane.admin("GET", "/v1/audit", &root, NOTHING).await.good();
    assert_eq!((&lines[0]["author"], &lines[0]["object"]), (&json!("shop-ed"), &json!("policy a.shop")));
    assert!(lines.as_array().unwrap().iter().any(|line| line["object"] == "token root.default"), "{lines}");

    let gone = plane.admin("DELETE", "/v1/tokens/shop-ed", &root, NOTHING).await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT);
    assert_eq!(write(&plane, &editor, SHOP).await, 401);
    plane.stop().await;
}
