"""Evidence: from the rows of a study to what they say of the paper's claims."""
