mod prototxt;
mod runs;
mod solver;
