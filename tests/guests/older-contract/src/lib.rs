//! A component of a contract that this worker does not speak.

wit_bindgen::generate!({ path: "wit", world: "transforms" });

struct Older;

impl exports::penstock::connect::transform::Guest for Older {
    fn apply() {}
}

export!(Older);
