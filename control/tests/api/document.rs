//! The OpenAPI document says what there is.

use crate::app::{request, Control};
use axum::http::Method;
use serde_json::Value;
use std::collections::BTreeSet;

#[tokio::test]
async fn every_documented_operation_is_there_and_every_one_there_is_documented() {
    let control = Control::new().await;
    let document: Value = control.send(request(Method::GET, "/api/v1/openapi.json", &[], None)).await.is(200).json();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1."));
    let methods = ["get", "post", "put", "patch", "delete"];
    for (path, item) in document["paths"].as_object().unwrap() {
        let filled = path.replace("{id}", "c83").replace("{name}", "e1").replace("{generation}", "1");
        let filled = if path.contains("/tokens/") { filled.replace("c83", "0123456789abcdef") } else { filled };
        let documented: BTreeSet<String> =
            methods.iter().filter(|method| item.get(**method).is_some()).map(|method| method.to_uppercase()).collect();
        let answer = control.ask(Method::TRACE, &filled, None).await.is(405);
        let allowed = answer.header("allow").split(',').map(|method| method.trim().to_owned());
        let allowed: BTreeSet<String> = allowed.filter(|method| method != "HEAD").collect();
        assert_eq!(allowed, documented, "{path}");
    }
}

#[test]
fn references_lead_somewhere_and_operations_have_names_of_their_own() {
    let text = tel_control::http::api::document();
    let document: Value = serde_json::from_str(text).unwrap();
    let mut names = BTreeSet::new();
    for item in document["paths"].as_object().unwrap().values() {
        for operation in item.as_object().unwrap().values() {
            assert!(names.insert(operation["operationId"].as_str().unwrap().to_owned()), "{operation}");
            assert!(operation["summary"].is_string(), "{operation}");
            assert!(operation["responses"]["204"].get("content").is_none(), "{operation}");
        }
    }
    assert!(names.len() >= 29, "{names:?}");
    // Two of one name would be one.
    let status = &document["components"]["schemas"]["Status"]["properties"];
    assert_eq!(status["reconciler"]["$ref"], "#/components/schemas/ReconcilerStatus");
    for reference in text.split("\"$ref\": \"").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        let place = document.pointer(reference.strip_prefix('#').unwrap());
        assert!(place.is_some(), "{reference}");
    }
}
