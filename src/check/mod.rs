//! What is wrong with a net or a solver file, told from its text: rules, their pages, and edits that mend.
