//! The machine as a native program, which `pgraft machine test` compares with the module.

fn main() -> std::io::Result<()> {
    pgraft_sdk::native::serve::<{{crate}}::{{Type}}>()
}
