//! Pictures and tables of nets and runs.
