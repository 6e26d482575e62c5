//! `penstock.examples.RetailOrders`: makes retail orders fit for the warehouse.
//!
//! For each record whose value is an order - it has the field `order_id`, or its topic stands in `orders.topics`:
//!
//! - test traffic is dropped: `"test": true`, or a customer whose id begins with `test.customers.prefix`;
//! - an order that breaks a rule fails, with the rule in the message, so that it goes to the dead letters: `order_id`, `customer.id`
//!   and `ordered_at` are there, `currency` is one of `currencies`, and there is at least one item, each with a positive quantity and
//!   a price that is not negative;
//! - `total` is added, in the order's currency, and `fraud_flag` with `fraud_reason` (null when there is none);
//! - with `flagged.only` nothing but orders that are flagged passes.
//!
//! Of every record, order or not, e-mail addresses at `mask.paths` are masked. What has none of these fields passes
//! untouched, byte for byte. Works on JSON and on values with a schema alike, since it only looks at columns.

mod order;

use penstock_plugin::{
    Batch, Check, ColumnTransform, ConfigDef, ConfigKey, ConfigType, Edits, Error, FieldKind, Parsed, Part, Result, TextEdits,
    TransformClass,
};

use order::{Fraud, Item, Rules};

const VALUE: Part = Part::Value;

/// The class, configured.
struct RetailOrders {
    rules: Rules,
    fraud: Fraud,
    orders_topics: Vec<String>,
    flagged_only: bool,
    drop_test: bool,
    test_customers_prefix: String,
    mask_paths: Vec<String>,
}

impl RetailOrders {
    fn new(config: &Parsed) -> Result<Self> {
        let masks = config.boolean("mask.email");
        Ok(Self {
            rules: Rules { currencies: config.list("currencies") },
            fraud: Fraud {
                total_threshold: config.number("fraud.total.threshold"),
                quantity_threshold: config.number("fraud.quantity.threshold"),
            },
            orders_topics: config.list("orders.topics"),
            flagged_only: config.boolean("flagged.only"),
            drop_test: config.boolean("drop.test"),
            test_customers_prefix: config.string("test.customers.prefix").to_owned(),
            mask_paths: if masks { config.list("mask.paths") } else { Vec::new() },
        })
    }
}

impl ColumnTransform for RetailOrders {
    fn apply(&mut self, batch: &Batch<'_>) -> Result<()> {
        let fields =
            ["order_id", "customer.id", "items", "currency", "ordered_at", "test", "total", "fraud_flag", "fraud_reason"];
        let paths: Vec<&str> = fields.into_iter().chain(self.mask_paths.iter().map(String::as_str)).collect();
        batch.prefetch(VALUE, &paths);

        let dropped = self.test_rows(batch);
        let mut is_dropped = vec![false; batch.len()];
        dropped.iter().for_each(|row| is_dropped[*row as usize] = true);
        batch.discard(&dropped);
        self.mask(batch, &is_dropped);
        self.enrich(batch, &is_dropped);
        Ok(())
    }
}

impl RetailOrders {
    fn test_rows(&self, batch: &Batch<'_>) -> Vec<u32> {
        if !self.drop_test {
            return Vec::new();
        }
        let tests = batch.booleans(VALUE, "test");
        let customers = batch.texts(VALUE, "customer.id");
        let prefix = &self.test_customers_prefix;
        let by_tester = |row| !prefix.is_empty() && customers.get(row).is_some_and(|id| id.starts_with(prefix.as_str()));
        rows_where(batch, |row| tests.get(row) == Some(true) || by_tester(row))
    }

    fn mask(&self, batch: &Batch<'_>, is_dropped: &[bool]) {
        for path in &self.mask_paths {
            let mut masked = TextEdits::new();
            for (row, email) in batch.texts(VALUE, path).iter().enumerate() {
                if let (Some(email), false) = (email, is_dropped[row]) {
                    masked.set(row, &order::masked(email));
                }
            }
            batch.set_texts(VALUE, path, &masked);
        }
    }

    fn enrich(&self, batch: &Batch<'_>, is_dropped: &[bool]) {
        let is_order = self.orders(batch);
        if self.flagged_only {
            batch.discard(&rows_where(batch, |row| !is_order[row] && !is_dropped[row]));
        }
        if !is_order.contains(&true) {
            return;
        }
        let ids = batch.texts(VALUE, "order_id");
        let customers = batch.texts(VALUE, "customer.id");
        let currencies = batch.texts(VALUE, "currency");
        let times = batch.integers(VALUE, "ordered_at");
        let items = batch.json(VALUE, "items");
        let (mut totals, mut flags, mut reasons) = (Edits::<f64>::new(), Edits::<bool>::new(), TextEdits::new());
        let (mut failed, mut unsuspicious) = (Vec::new(), Vec::new());
        for row in (0..batch.len()).filter(|row| is_order[*row] && !is_dropped[*row]) {
            let checked = self
                .rules
                .check_head(ids.get(row), customers.get(row), currencies.get(row), times.get(row))
                .and_then(|()| Item::parse_all(items.get(row)))
                .and_then(|items| self.rules.check_items(items));
            match checked {
                Ok(items) => {
                    let total = order::total(&items);
                    let reason = self.fraud.reason(total, &items);
                    if self.flagged_only && reason.is_none() {
                        unsuspicious.push(row as u32);
                        continue;
                    }
                    totals.set(row, total);
                    flags.set(row, reason.is_some());
                    match reason {
                        Some(reason) => reasons.set(row, &reason),
                        None => reasons.set_null(row),
                    }
                }
                Err(why) => failed.push((row, Error::data(format!("order {}: {why}", ids.get(row).unwrap_or("without id"))))),
            }
        }
        batch.set_numbers(VALUE, "total", &totals);
        batch.set_booleans(VALUE, "fraud_flag", &flags);
        batch.set_texts(VALUE, "fraud_reason", &reasons);
        batch.discard(&unsuspicious);
        batch.fail(failed);
    }

    fn orders(&self, batch: &Batch<'_>) -> Vec<bool> {
        let mut is_order: Vec<bool> = batch.kinds(VALUE, "order_id").into_iter().map(|kind| kind != FieldKind::Missing).collect();
        if !self.orders_topics.is_empty() {
            let topics = batch.topics();
            let is_orders: Vec<bool> = topics.names().iter().map(|name| self.orders_topics.contains(name)).collect();
            is_order.iter_mut().zip(topics.index()).for_each(|(order, topic)| *order |= is_orders[*topic as usize]);
        }
        is_order
    }
}

fn rows_where(batch: &Batch<'_>, is_one: impl Fn(usize) -> bool) -> Vec<u32> {
    (0..batch.len()).filter(|row| is_one(*row)).map(|row| row as u32).collect()
}

fn keys() -> ConfigDef {
    ConfigDef::new([
        ConfigKey::optional("fraud.total.threshold", ConfigType::Double, "5000", "Orders with a higher total are flagged.")
            .check(Check::Min(0.0)),
        ConfigKey::optional("fraud.quantity.threshold", ConfigType::Int, "100", "Orders with more of one item are flagged.")
            .check(Check::Min(1.0)),
        ConfigKey::optional(
            "currencies",
            ConfigType::List,
            "EUR,USD,GBP,CHF,PLN,SEK,JPY",
            "Known currencies; others fail the order.",
        )
        .check(Check::NonEmpty),
        ConfigKey::optional("mask.email", ConfigType::Boolean, "true", "Whether e-mail addresses are masked."),
        ConfigKey::optional("mask.paths", ConfigType::List, "customer.email,email", "Fields that hold e-mail addresses."),
        ConfigKey::optional("flagged.only", ConfigType::Boolean, "false", "Whether only flagged orders pass, for alerts."),
        ConfigKey::optional("drop.test", ConfigType::Boolean, "true", "Whether test traffic is dropped."),
        ConfigKey::optional(
            "test.customers.prefix",
            ConfigType::String,
            "test-",
            "Ids of test customers begin with this; empty when there are none.",
        ),
        ConfigKey::optional(
            "orders.topics",
            ConfigType::List,
            "",
            "Topics on which every value is an order. Elsewhere a value with the field order_id is one.",
        ),
    ])
}

fn classes() -> Vec<TransformClass> {
    vec![TransformClass::columns("penstock.examples.RetailOrders", env!("CARGO_PKG_VERSION"), keys(), RetailOrders::new)]
}

penstock_plugin::export_transforms!(classes);

#[cfg(test)]
mod cases;
