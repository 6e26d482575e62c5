//! Cases of the whole class. It is in the form of columns, so they run with `penstock plugin test`.

use penstock_plugin::testing::{Outcome, TestRecord, json, run};

use crate::classes;

const CLASS: &str = "penstock.examples.RetailOrders";

fn order(id: &str, quantity: i64, more: serde_json::Value) -> TestRecord {
    let mut value = json!({
        "order_id": id, "customer": {"id": "c-1", "email": "ada@example.org"}, "currency": "EUR", "ordered_at": 1_732_300_000_000_i64,
        "items": [{"sku": "s-1", "quantity": quantity, "unit_price": 2.5}],
    });
    for (field, content) in more.as_object().into_iter().flatten() {
        value[field] = content.clone();
    }
    TestRecord::new("orders").key(id).value(value)
}

#[test]
fn orders_are_checked_masked_and_flagged() {
    run(classes, |plugins| {
        let mut task = plugins.transform(CLASS, &[]).unwrap();
        let good = json!({"total": 5.0, "fraud_flag": false, "fraud_reason": null, "customer": {"id": "c-1", "email": "a***@example.org"}});
        let outcomes =
            task.apply([order("o-1", 2, json!({})), order("o-2", 0, json!({})), order("o-3", 1, json!({"test": true}))]).unwrap();
        assert_eq!(outcomes[0], Outcome::Passed(order("o-1", 2, good)));
        let Outcome::Failed(failure) = &outcomes[1] else { panic!("{:?}", outcomes[1]) };
        assert_eq!(failure.message, "order o-2: the quantity of item 1 is 0: it must be positive");
        assert_eq!(outcomes[2], Outcome::Dropped);
    });
}

#[test]
fn alerts_are_of_flagged_orders_alone() {
    run(classes, |plugins| {
        let mut task = plugins.transform(CLASS, &[("flagged.only", "true")]).unwrap();
        let outcomes = task
            .apply([
                order("o-1", 2, json!({})),
                order("o-2", 101, json!({})),
                TestRecord::new("orders").value(json!({"no": "order"})),
                order("o-4", 101, json!({"test": true})),
            ])
            .unwrap();
        let dropped: Vec<bool> = outcomes.iter().map(|outcome| *outcome == Outcome::Dropped).collect();
        assert_eq!(dropped, [true, false, true, true], "{outcomes:?}");
    });
}
