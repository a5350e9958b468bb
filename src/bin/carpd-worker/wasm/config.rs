//! The configuration of wasmtime. A separate file, because the fuzzer compiles hostile components
//! with it.

use wasmtime::{Config, OperatorCost, VariableOperatorCost};

/// Stack of a component, in bytes.
const STACK: usize = 256 << 10;
/// The fuel that filling, copying and growing cost in addition to the instruction: none. A machine
/// fills dozens of bytes in the time of one instruction, and a component that asks for four
/// thousand million elements gets none; the clocks measure how long it really took.
const BULK: VariableOperatorCost = VariableOperatorCost {
    memory_copy_per_byte: 0,
    memory_fill_per_byte: 0,
    memory_init_per_byte: 0,
    memory_grow_per_page: 0,
    table_copy_per_element: 0,
    table_fill_per_element: 0,
    table_init_per_element: 0,
    table_grow_per_element: 0,
    array_copy_per_element: 0,
    array_fill_per_element: 0,
    array_new_data_per_element: 0,
    array_init_data_per_element: 0,
    array_new_elem_per_element: 0,
    array_init_elem_per_element: 0,
    array_new_default_per_element: 0,
    array_new_per_element: 0,
};

/// It must be the same in the compiler and in the runner, or the runner would reject what the
/// compiler produces.
#[must_use]
pub(crate) fn config(native: bool) -> Config {
    let mut config = Config::new();
    config
        .consume_fuel(true)
        .operator_cost(OperatorCost {
            variable: BULK,
            ..OperatorCost::new()
        })
        .epoch_interruption(true)
        .max_wasm_stack(STACK)
        // No 4 GiB reservations, no memory backed by files: the runner's address space and files
        // are limited.
        .memory_reservation(0)
        .memory_reservation_for_growth(1 << 20)
        .memory_guard_size(64 << 10)
        .memory_may_move(true)
        .memory_init_cow(false);
    if !native {
        // It knows every target: the error cannot happen, and would show up when code is loaded.
        let _ = config.target("pulley64");
    }
    config
}
