"""`make soak`: hours of a bot, prices and faults without a pause, judged by the venue's ledger; graphs at the end."""
