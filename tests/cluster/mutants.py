"""What is changed in a copy of the fleet, or of the model of a node, to see that the simulator finds it. Each has a case: the
simulator's flags under which it must be found, and under which the unchanged program must pass."""

import collections

# changes: (file, old text, new text); the old text must be there exactly once.
Mutant = collections.namedtuple("Mutant", "name changes case")

FLEET = "service/cluster/fleet.c"
ROWS = "service/cluster/fleet_rows.c"
TXN = "service/cluster/fleet_txn.c"
VERIFY = "tests/cluster/verify.c"

# Few nodes and many faults of few kinds: most mutants are found at once.
CUTS = "--nodes 4 --seconds 30 --staleness 1500 --faults drift,cut --changes 20 --verifies 40"
COMMITS = "--nodes 4 --seconds 30 --staleness 1500 --faults commit,pause,cut --changes 20 --verifies 40"
PAIRS = "--nodes 2 --seconds 30 --staleness 1500 --faults stop,restart --changes 20 --verifies 40"
OLD = "--nodes 2 --seconds 30 --staleness 1500 --faults stop,stale,commit --changes 20 --verifies 40"
BEHIND = "--nodes 4 --seconds 30 --staleness 1500 --faults stale --changes 20 --verifies 40"
TOKENS = "--nodes 2 --seconds 100 --staleness 10000 --faults drift,cut --changes 4 --verifies 20"
CLOCKS = "--nodes 2 --seconds 100 --staleness 5000 --faults drift,cut --changes 12 --verifies 4 --mean 4000"
STOPS = "--nodes 8 --seconds 30 --staleness 1000 --faults stop,cut --changes 50 --verifies 20 --mean 50"
BATCHES = "--nodes 2 --seconds 60 --staleness 2000 --faults commit --changes 200 --verifies 40"

MUTANTS = [
    Mutant("a short wait", [
        (ROWS, "return (int64_t)max_staleness_ms * 101 / 99 + 2;",
         "return (int64_t)max_staleness_ms / 2;")], CUTS),
    Mutant("a long wait", [
        (ROWS, "return (int64_t)max_staleness_ms * 101 / 99 + 2;",
         "return (int64_t)max_staleness_ms * 3 / 2;")], CUTS),
    Mutant("a stamp taken at the reply", [
        (TXN, ".sent_ms = s->at_ms, .learned_ms", ".sent_ms = now_ms, .learned_ms")], COMMITS),
    Mutant("the snapshot before fresh_until", [
        (VERIFY, "= { load_fresh_until, take_snapshot, look_at_clock }",
         "= { take_snapshot, load_fresh_until, look_at_clock }")], COMMITS),
    Mutant("serving before catching up", [
        (FLEET, "if (p->head <= f->applied && p->sent_ms", "if (p->sent_ms")], COMMITS),
    Mutant("an early removal", [
        (ROWS, "m->marked && now_ms >= m->mark_seen_ms + m->wait_ms", "m->marked")], CUTS),
    Mutant("a proof that only reads", [
        (TXN, "} else {\n\t\tthen(t, FLEET_DELETE, NOTHING, \"\");", "} else {")], BEHIND),
    Mutant("marks ignored", [
        (TXN, "\tcompare(t, FLEET_VERSION, \"mark/\", f->name, 0);\n", "")], CUTS),
    Mutant("the members of before the commit", [
        (TXN, "\tthen_get_all(t, \"nodes/\", \"nodes0\");\n\tf->sent[SLOT_PROPOSE].rows = true;\n", ""),
        (TXN, "\t\tif (f->rows_revision >= r->revision) {", "\t\tif (true) {")], PAIRS),
    Mutant("rows that an older state lacks are gone", [
        (ROWS, "bool newer = r->revision >= f->rows_revision && complete;", "bool newer = complete;")], OLD),
    Mutant("a new life while still serving", [
        (FLEET, "fleet_rejoin(struct fleet *f)\n{\n\tf->fresh_until_ms = 0;", "fleet_rejoin(struct fleet *f)\n{")],
           COMMITS),
    Mutant("an acknowledgement before the commit", [
        (TXN, ".applied = f->applied,\n", ".applied = f->applied + f->n_entries,\n")], COMMITS),
    Mutant("a replay that was confirmed before its token was found", [
        ("tests/cluster/node_writer.c", " || (replay && call->confirmed_head < call->found_at)", "")], TOKENS),
    Mutant("a replay of a token that is in no entry yet", [
        ("tests/cluster/node_writer.c", "call->found_at == 0 && e->n == 0)", "call->found_at == 0)")], BATCHES),
    Mutant("a former proposal's reply taken for the next one's", [
        (FLEET, "\tf->sent[SLOT_PROPOSE].busy = false;\n", "")], CUTS),
    Mutant("a head compared with what came after it", [
        (TXN, "\ts->known = f->applied;\n", "\ts->known = f->applied + 1;\n")], CUTS),
]

# Found by one seed in ten or so: only with TORTURE=1. tests/unit/service/cluster/test_fleet.c has the margin, too.
RARE = [
    Mutant("no drift margin", [
        (ROWS, "return (int64_t)max_staleness_ms * 101 / 99 + 2;", "return (int64_t)max_staleness_ms;")], CLOCKS),
    Mutant("a stop that ends by another row's removal", [
        (TXN, "f->left = f->leaving && s->leaving;", "f->left = f->leaving;")], STOPS),
]
