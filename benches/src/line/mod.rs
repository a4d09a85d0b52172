//! What `benches/line` needs beside its programs: a control plane that does what it is told.

mod books;
mod desk;

pub use books::Books;
pub use desk::serve;
