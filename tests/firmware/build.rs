//! Hands `link.x` to the linker.

fn main() {
    let here = std::env::var("CARGO_MANIFEST_DIR").expect("set by cargo");
    println!("cargo:rustc-link-arg-bins=-T{here}/link.x");
    println!("cargo:rerun-if-changed=link.x");
}
