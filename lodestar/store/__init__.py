"""What must last: durable atomic files, content-addressed artefacts, the ledger."""
