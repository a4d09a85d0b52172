//! Config values: written, gray for some, waited for, kept.

use hyper::StatusCode;
use serde_json::{Value, json};

use crate::plane::{NOTHING, Plane};

const PATH: &str = "/v1/namespaces/shop/config/banner";

async fn ask(plane: &Plane, question: Value) -> Value {
    plane.node("POST", PATH, question).await.good()
}

#[tokio::test]
async fn a_value_is_told_by_labels_waited_for_and_kept() {
    let plane = Plane::start().await;
    let nothing = ask(&plane, json!({ "digest": "ffffffffffffffffffffffffffffffff" })).await;
    assert_eq!((&nothing["value"], &nothing["revision"]), (&json!(null), &json!(0)));
    let gray = json!([{ "labels": { "lane": "blue" }, "value": "new" }]);
    plane.admin("PUT", PATH, &[], json!({ "value": "old", "gray": gray })).await.good::<Value>();
    let old = ask(&plane, json!({})).await;
    assert_eq!(old["value"], "old");
    assert_eq!(ask(&plane, json!({ "labels": { "lane": "blue" } })).await["value"], "new");

    // Who holds what there is waits; a change for others is no news, its own is.
    let held = json!({ "digest": old["digest"], "hold": "30s" });
    let (told, ()) = tokio::join!(ask(&plane, held), async {
        let gray = json!([{ "labels": { "lane": "blue" }, "value": "newer" }]);
        plane.admin("PUT", PATH, &[], json!({ "value": "old", "gray": gray })).await.good::<Value>();
        plane.admin("PUT", PATH, &[], json!({ "value": "everybody" })).await.good::<Value>();
    });
    assert_eq!(told["value"], "everybody");

    let wrong = json!({ "value": "x", "gray": [{ "labels": {}, "value": "y" }] });
    let problem = plane.admin("PUT", PATH, &[], wrong).await.problem();
    assert_eq!(problem, ["422 gray[0].labels: no labels: everybody would get it"]);
    let refused = plane.node("PUT", PATH, json!({ "value": "x" })).await.status;
    assert_eq!(refused, StatusCode::METHOD_NOT_ALLOWED, "readers do not write");

    let (directory, config) = plane.stop().await;
    let plane = Plane::over(directory, config).await;
    assert_eq!(ask(&plane, json!({})).await["value"], "everybody");
    plane.admin("DELETE", PATH, &[], NOTHING).await.good::<Value>();
    assert_eq!(plane.node("GET", PATH, NOTHING).await.status, StatusCode::NOT_FOUND);
    plane.stop().await;
}
