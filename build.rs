//! A new migration changes what the compile-time checked queries see.
fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
