//! The machine as a native program, which `pgraft machine test` compares with its module.

fn main() -> std::io::Result<()> {
    pgraft_sdk::native::serve::<pgraft_example_queue::Queue>()
}
