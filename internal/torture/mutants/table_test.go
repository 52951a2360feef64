package mutants

// edit replaces a text that occurs once in a file.
type edit struct{ old, new string }

// mutant is one deliberate defect.
type mutant struct {
	name   string
	breaks string // in an operator's words
	file   string // below the module
	edits  []edit
	caught []string // names of hunts, tried in this order; one must turn red
}

// hunt is a part of the harness that looks for defects.
type hunt struct {
	pkg string
	run string   // -run
	env []string // size and seed of the run
	arg []string // of the test program
}

// seeds are fixed, so that a report can be repeated.
func hunts() map[string]hunt {
	points := func(list string) hunt {
		return hunt{pkg: "./internal/torture", run: "^TestFailpoints$", env: []string{"INGESTD_POINTS=" + list}}
	}
	return map[string]hunt{
		"conformance": {pkg: "./internal/senders/callminer", run: "^TestConformance$"},
		"model": {pkg: "./internal/torture/model", run: "^TestModel$",
			arg: []string{"-rapid.checks=400", "-rapid.seed=7", "-rapid.nofailfile", "-rapid.shrinktime=0s"}},
		"histories":       {pkg: "./internal/torture/model", run: "^Test(Disposal|Doubt|Duplicate|Source)"},
		"order of calls":  {pkg: "./internal/torture", run: "^TestOrderOfCalls$"},
		"power cut":       {pkg: "./internal/torture", run: "^TestPowerCut$", env: []string{"INGESTD_CUTS=24"}},
		"poison":          {pkg: "./internal/torture", run: "^TestPoison$"},
		"second instance": {pkg: "./internal/torture", run: "^TestSecondInstance$"},
		"lost ledger":     {pkg: "./internal/torture", run: "^TestLostLedger$"},
		"write errors":    {pkg: "./internal/torture", run: "^TestSweep$/^EIO_at_pwrite64$", env: []string{"INGESTD_SWEEP_STEP=25"}},
		"full disk":       {pkg: "./internal/torture", run: "^TestSweep$/^ENOSPC_at_pwrite64$", env: []string{"INGESTD_SWEEP_STEP=15"}},
		"failed commit":   points("clean:committing.before=error,clean:sending.before=error,clean:accepted.after=error"),
		"killed at the gate": points("clean:committing.after=kill,clean:gate.before-tail=kill,clean:gate.after-tail=kill,crash:recover.after=kill," +
			"clean:answer.read=kill"),
		"killed at a move": points("clean:rename.before=kill,clean:rename.after=kill,clean:disposing.after=kill,clean:done.before=kill,clean:done.after=kill"),
	}
}

// table is every defect.
func table() []mutant {
	const (
		gate    = "internal/senders/gate.go"
		journal = "internal/pipeline/journal.go"
		doubt   = "internal/pipeline/doubt.go"
		dispose = "internal/pipeline/dispose.go"
		move    = "internal/ledger/move.go"
		recover = "internal/ledger/recover.go"
		writer  = "internal/ledger/writer.go"
		conn    = "internal/ledger/conn.go"
		http    = "internal/senders/http.go"
		retry   = "internal/senders/retry.go"
	)
	return []mutant{
		{"no gate", "the whole recording goes out before anything says that it may", gate,
			[]edit{{"prefix: max(size-TailBytes, 0),", "prefix: size,"}}, []string{"conformance", "model"}},
		{"commit after send", "the last bytes do not wait for the commit that says so", gate,
			[]edit{{"if err := g.journal.Committing(); err != nil {", "go func() { _ = g.journal.Committing() }()\n\tif err := error(nil); err != nil {"}},
			[]string{"model", "conformance"}},
		{"hash check dropped", "a recording that changed while it was read is sent as a mixture", gate,
			[]edit{{"if hex.EncodeToString(g.hash.Sum(nil)) != g.sum {", "if hex.EncodeToString(g.hash.Sum(nil)) == \"\" {"}}, []string{"model", "conformance"}},
		{"fstat dropped", "a file that was touched at the last moment is sent", gate,
			[]edit{{"if err := g.media.Verify(); err != nil {", "if err := error(nil); err != nil {"}}, []string{"conformance"}},
		{"NORMAL instead of FULL", "a power cut takes back what the ledger had promised", conn,
			[]edit{{"_synchronous=FULL", "_synchronous=NORMAL"}, {`{"synchronous", "2"}`, `{"synchronous", "1"}`}}, []string{"power cut", "order of calls"}},
		{"blind resend", "a recording whose answer was lost is sent twice to a vendor that keeps both", doubt,
			[]edit{{"if !traits.ResendSafe && pl.dest.OnDoubt != senders.OnDoubtResend {", "if pl.dest.OnDoubt == \"\" {"}}, []string{"model"}},
		{"T_settle ignored", "a vendor that is still working on a recording gets it again", doubt,
			[]edit{{"if now.Before(settled) {", "if now.Before(d.DoubtSince) {"}}, []string{"model"}},
		{"absent at once", "one empty listing is believed, and the recording is sent again", doubt,
			[]edit{{"case v.Outcome == senders.Absent && d.Reason == reasonAbsent:", "case v.Outcome == senders.Absent && d.ID != 0:"}}, []string{"model"}},
		{"id not stored", "after a crash a second conversation is opened for the same call", journal,
			[]edit{{"return j.move(ledger.Step{To: ledger.Declared, IDs: ids})", "return j.move(ledger.Step{To: ledger.Declared})"}}, []string{"model"}},
		{"id not stored with the media", "what is known of an upload is only in memory while it runs", journal,
			[]edit{{"return j.move(ledger.Step{To: ledger.Declared, IDs: ids}, ledger.Step{To: ledger.Sending})", "return j.move(ledger.Step{To: ledger.Declared}, ledger.Step{To: ledger.Sending})"}},
			[]string{"model"}},
		{"moved while in doubt", "a file leaves the drop directory while nobody knows whether it arrived", move,
			[]edit{{"func freed(s State) bool { return s == Accepted ||", "func freed(s State) bool { return s == InDoubt || s == Accepted ||"},
				{"FROM (SELECT CASE WHEN d.state <> 'duplicate' THEN d.state", "FROM (SELECT CASE WHEN d.state <> 'duplicate' THEN replace(d.state, 'in_doubt', 'accepted')"}}, []string{"model"}},
		{"gone after the first", "a file for two vendors is deleted when one of them has it", move,
			[]edit{{"AND coalesce(sum(e <> 'accepted' AND e <> 'confirmed' AND e <> 'cancelled'), 0) = 0,", ","}}, []string{"model"}},
		{"key with a random part", "after a lost ledger every recording is published a second time", "internal/call/key.go",
			[]edit{{"return DeliveryOf(strings.ToLower(key))", "return DeliveryOf(strings.ToLower(key[:20]) + uuid.NewString()[:6])"}}, []string{"model", "lost ledger"}},
		{"no compare before set", "two workers may both go on with one recording", move,
			[]edit{{"if d.Ver != ver || d.State != steps[0].From {", "if d.ID != id {"}}, []string{"model"}},
		{"no evidence", "an acceptance is in the ledger and nobody can say why", move,
			[]edit{{"err := t.event(event{\n\t\t\trecording: d.RecordingID,", "if s.To == Accepted {\n\t\t\tcontinue\n\t\t}\n\t\terr := t.event(event{\n\t\t\trecording: d.RecordingID,"}}, []string{"model"}},
		{"committing is planned again", "after a crash a recording that may have arrived is sent as if it had not", recover,
			[]edit{{"s.To = InDoubt\n", "s.To = Planned\n"}}, []string{"model", "killed at the gate"}},
		{"sending is left alone", "after a crash recordings that were on their way stay there for ever", recover,
			[]edit{{"WHERE state IN ('declaring', 'sending', 'committing')", "WHERE state IN ('declaring', 'committing')"}}, []string{"model"}},
		{"poison is never reached", "one recording that kills the program does so for ever", recover,
			[]edit{{"if d.Crashes+1 >= Poison {", "if d.Crashes+1 < 0 {"}}, []string{"poison"}},
		{"any 201 counts", "a login page in between is taken for the vendor's receipt", "internal/senders/callminer/callminer.go",
			[]edit{{"return c.readReceipt(answer, size, sent)", "return senders.Receipt{IDs: sent, HTTPStatus: answer.Status, Text: \"taken\"}, nil"}}, []string{"conformance"}},
		{"5xx after the tail is not sent", "a gateway's error makes a second copy of what the vendor took", "internal/senders/classify.go",
			[]edit{{"\tif a.Passed {\n\t\treturn InDoubt, code,", "\tif a.Status == 0 {\n\t\treturn InDoubt, code,"}}, []string{"conformance"}},
		{"redirect followed", "recordings go wherever an answer points to", http,
			[]edit{{"{ return http.ErrUseLastResponse }", "{ return nil }"}}, []string{"conformance"}},
		{"hidden replay", "net/http sends a request twice and the ledger knows of one", http,
			[]edit{{"\tbare.GetBody = nil\n\tfor _, key := range []string{\"Idempotency-Key\", ", "\tfor _, key := range []string{"}, {"req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))",
				"req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))\n\t\treq.Header.Set(\"Idempotency-Key\", \"1\")\n\t\treq.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }"}},
			[]string{"conformance"}},
		{"Retry-After without a bound", "one header of a vendor stops a destination for years", retry,
			[]edit{{"seconds = min(max(seconds, minRetryAfter.Seconds()), maxRetryAfter.Seconds())", "seconds = max(seconds, minRetryAfter.Seconds())"}}, []string{"conformance"}},
		{"no fence", "after a commit that failed the program goes on as if nothing had happened", writer,
			[]edit{{"\t\tw.fence(err)\n\t\terr = fmt.Errorf(\"%w: %w\", ErrFenced, w.fenceErr())\n", ""}}, []string{"failed commit"}},
		{"a broken disk is tried again", "an fsync that failed is asked once more, and its second answer is believed", conn,
			[]edit{{"return ok && (code == sqlite3.ErrFull ||", "return ok && (code == sqlite3.ErrIoErr || code == sqlite3.ErrFull ||"}}, []string{"write errors"}},
		{"a full disk is success", "what did not fit on the disk counts as remembered", writer,
			[]edit{{"\t\tbatch, err = w.persist(batch)\n", "\t\terr = w.commitBatch(batch)\n\t\tif code, _ := sqliteCode(err); code == 13 { // SQLITE_FULL\n\t\t\terr = nil\n\t\t}\n"}}, []string{"full disk"}},
		{"no lock", "two daemons work on one ledger", "internal/ledger/lock.go",
			[]edit{{"err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)", "err = nil"}}, []string{"second instance"}},
		{"no directory fsync", "a power cut brings moved files back, or loses them", "internal/watcher/move.go",
			[]edit{{"if err := errors.Join(dst.Sync(), src.Sync()); err != nil {", "if err := error(nil); err != nil {"}}, []string{"order of calls"}},
		{"done before the move", "a recording is reported in the archive and still lies in the drop directory", dispose,
			[]edit{{"\tr.Ver, r.MoveTo = ver, target\n", "\tr.Ver, r.MoveTo = ver, target\n\tif err := f.p.ledger.Done(ctx, r.ID, r.Ver, target, \"moved to the archive\"); err != nil {\n\t\treturn err\n\t}\n"}},
			[]string{"killed at a move", "model"}},
		{"gone with the mount", "a share that is not mounted for a minute ends all its recordings as vanished", "internal/pipeline/settle.go",
			[]edit{{"\tif lost := root.Check(); lost != nil {\n\t\treturn lost\n\t}\n\tvar refused", "\tvar refused"}}, []string{"histories"}},
		{"device number counts", "after a restart every file that waits is taken for another one", dispose,
			[]edit{{"\tthen.Dev = now.Dev\n", ""}}, []string{"histories"}},
		{"old sidecar of a used name", "a recording goes out with the agent and the customer of an earlier one", "internal/pipeline/pair.go",
			[]edit{{"if (s.Pair != sidecar.PairStem && s.Pair != sidecar.PairSuffix) || len(rows) == 0 || root == nil {", "if len(rows) == 0 || root != nil {"}}, []string{"model"}},
	}
}
