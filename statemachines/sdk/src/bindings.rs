//! The module interface, generated from `statemachines/wit`. Nothing is written by hand here.

wit_bindgen::generate!({
    path: "../wit/v0.1",
    world: "verified-machine",
    pub_export_macro: true,
    export_macro_name: "export_component",
    default_bindings_module: "pgraft_sdk::bindings",
});
