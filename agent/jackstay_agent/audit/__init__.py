"""The audit log: what was asked, decided, answered and done, as sealed and anchored JSON lines (DESIGN §5 Audit).

`records` turns what was told into lines' values, `shelf` owns files, `log` joins them with the agent's loop,
`anchors` carries copies of the last hash out of reach, `reading` is for whoever verifies or exports. The chain itself
is the core's.

It helps with keeping records. It claims no regulator's approval.
"""
