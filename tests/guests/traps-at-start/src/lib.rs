//! A component that traps when it is asked what it holds.

use penstock_plugin::TransformClass;

fn classes() -> Vec<TransformClass> {
    panic!("no licence file found")
}

penstock_plugin::export_transforms!(classes);
