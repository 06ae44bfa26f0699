//! Devices on real kernels: disks made of loop devices, faults put in by strace, crash states of what reached the disk.
//!
//! What can't be tried on a machine is said on standard error, past the capture of the test runner, in a line that
//! begins with `SKIPPED`. With `ESKER_REQUIRE_DEVICES=1` in the environment it fails instead.

mod contents;
mod crashes;
mod disks;
mod exclusive;
mod faults;
mod flushes;
mod loops;
mod session;
