"""What the agent knows of an account (DESIGN §5 State monitor): a cache of evidence, never the books of record.

    books.py      orders, balances and positions in memory, bounded; every picture has its source
    file.py       the same on the disk, fills by id, what the bot has not collected, results of checks
    rows.py       bytes and checksums               intake.py     requests, replies and streams become pictures
    pulling.py    what the venue says when asked    fills.py      a fill's way: written down, judged, delivered once
    bot_views.py  what bots report

Nothing here invents anything: a value stands here because a venue said it, a bot asked for it, or a bot reported it.
"""
