package ledger

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// copyFile copies a file as `cp` would; what is not there it removes.
func copyFile(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if errors.Is(err, os.ErrNotExist) {
		check(t, errors.Join(os.RemoveAll(to)))
		return
	}
	check(t, err)
	check(t, os.WriteFile(to, b, 0o600))
}

// site is a directory with a ledger that a test kills and rolls back.
type site struct {
	t    *testing.T
	c    *clock
	path string
	l    *Ledger
}

func newSite(t *testing.T) *site {
	s := &site{t: t, c: newClock(), path: filepath.Join(t.TempDir(), "ledger.db")}
	s.open()
	return s
}

func (s *site) open() {
	s.t.Helper()
	s.l = openAt(s.t, s.path, s.c)
}

// frozen copies the files into a new directory as they are at this moment,
// which is what a kill leaves, and goes on there. The copy has no other
// connections, as after a real death.
func (s *site) frozen() {
	s.t.Helper()
	dir := s.t.TempDir()
	old := s.path
	s.path = filepath.Join(dir, "ledger.db")
	for _, suffix := range []string{"", "-wal", waterSuffix} {
		copyFile(s.t, old+suffix, s.path+suffix)
	}
	copyFile(s.t, filepath.Join(filepath.Dir(old), markerName), filepath.Join(dir, markerName))
}

// save keeps the ledger's files, without the mark.
func (s *site) save() (restore func()) {
	s.t.Helper()
	dir := s.t.TempDir()
	for _, suffix := range []string{"", "-wal"} {
		copyFile(s.t, s.path+suffix, filepath.Join(dir, "saved"+suffix))
	}
	return func() {
		s.t.Helper()
		for _, suffix := range []string{"", "-wal"} {
			copyFile(s.t, filepath.Join(dir, "saved"+suffix), s.path+suffix)
		}
		check(s.t, os.RemoveAll(s.path+"-shm"))
	}
}

func (s *site) checkpoint() {
	s.t.Helper()
	check(s.t, s.l.w.conn.PingContext(s.t.Context()))
	_, err := s.l.w.conn.ExecContext(s.t.Context(), "PRAGMA wal_checkpoint(PASSIVE)")
	check(s.t, err)
}

// Every way in which a ledger becomes older than what ran here is found, and
// a delivery that is planned in it is in doubt afterwards; every way in which
// it does not is left in peace.
func TestOlderLedgerIsFound(t *testing.T) {
	accept := func(s *site) {
		walk(s.t, s.l, deliveryByID(s.t, s.l, 1), Sending, Committing, Accepted)
	}
	for name, c := range map[string]struct {
		damage func(s *site)
		older  bool
	}{
		"killed":                       {damage: func(s *site) { accept(s); s.frozen() }},
		"killed before anything ran":   {damage: func(s *site) { s.frozen() }},
		"killed after a checkpoint":    {damage: func(s *site) { accept(s); s.checkpoint(); s.frozen() }},
		"killed, then backed up":       {damage: func(s *site) { accept(s); s.frozen(); check(s.t, Backup(s.t.Context(), s.path, s.path+".bak")) }},
		"killed, then vacuumed":        {damage: func(s *site) { accept(s); s.frozen(); check(s.t, Vacuum(s.t.Context(), s.path)) }},
		"killed, then an order given":  {damage: func(s *site) { accept(s); s.frozen(); giveOrder(s) }},
		"stopped":                      {damage: func(s *site) { accept(s); closeOnce(s.t, s.l) }},
		"stopped and started":          {damage: func(s *site) { accept(s); closeOnce(s.t, s.l); s.open(); closeOnce(s.t, s.l) }},
		"stopped, then vacuumed":       {damage: func(s *site) { closeOnce(s.t, s.l); check(s.t, Vacuum(s.t.Context(), s.path)) }},
		"killed, the WAL deleted":      {damage: func(s *site) { s.checkpoint(); accept(s); s.frozen(); check(s.t, os.Remove(s.path+"-wal")) }, older: true},
		"killed, the WAL emptied":      {damage: func(s *site) { s.checkpoint(); accept(s); s.frozen(); check(s.t, os.Truncate(s.path+"-wal", 0)) }, older: true},
		"killed, the WAL torn":         {damage: func(s *site) { s.checkpoint(); accept(s); s.frozen(); flip(s.t, s.path+"-wal", 32+24+100) }, older: true},
		"power cut, the WAL deleted":   {damage: func(s *site) { s.checkpoint(); s.unsynced(func() { accept(s) }); check(s.t, os.Remove(s.path+"-wal")) }, older: true},
		"power cut":                    {damage: func(s *site) { s.checkpoint(); s.unsynced(func() { accept(s) }) }},
		"killed, a live copy put back": {damage: func(s *site) { back := s.save(); accept(s); s.frozen(); back() }, older: true},
		"a clean copy put back": {damage: func(s *site) {
			closeOnce(s.t, s.l)
			back := s.save()
			s.open()
			accept(s)
			closeOnce(s.t, s.l)
			back()
		}, older: true},
		"a copy of the boot before put back": {damage: func(s *site) {
			closeOnce(s.t, s.l)
			back := s.save()
			s.open()
			closeOnce(s.t, s.l)
			back()
		}, older: true},
		"a backup copied over it": {damage: func(s *site) {
			check(s.t, Backup(s.t.Context(), s.path, s.path+".bak"))
			accept(s)
			closeOnce(s.t, s.l)
			copyFile(s.t, s.path+".bak", s.path)
		}, older: true},
		"a backup copied over it, nothing happened since": {damage: func(s *site) {
			check(s.t, Backup(s.t.Context(), s.path, s.path+".bak"))
			closeOnce(s.t, s.l)
			copyFile(s.t, s.path+".bak", s.path)
		}, older: true},
		"a backup copied into an empty directory": {damage: func(s *site) {
			backup := s.path + ".bak"
			check(s.t, Backup(s.t.Context(), s.path, backup))
			closeOnce(s.t, s.l)
			s.path = filepath.Join(s.t.TempDir(), "ledger.db")
			copyFile(s.t, backup, s.path)
		}, older: true},
		"the mark removed": {damage: func(s *site) { closeOnce(s.t, s.l); check(s.t, os.Remove(waterPath(s.path))) }, older: true},
		"the mark damaged": {damage: func(s *site) { closeOnce(s.t, s.l); flip(s.t, waterPath(s.path), 1) }, older: true},
		"the marker removed": {damage: func(s *site) {
			closeOnce(s.t, s.l)
			check(s.t, os.Remove(filepath.Join(filepath.Dir(s.path), markerName)))
		}, older: true},
		"the way back: an older one ran, then the newer one returns": {damage: func(s *site) {
			closeOnce(s.t, s.l)
			old := s.save()
			s.open()
			accept(s)
			closeOnce(s.t, s.l)
			newer := s.save()
			old()
			s.open()
			closeOnce(s.t, s.l)
			newer()
		}, older: true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			planned(t, s.l, "a.wav", "a", "", "alpha")
			planned(t, s.l, "b.wav", "b", "", "alpha")
			c.damage(s)
			s.c.advance(time.Hour)
			s.open()
			b := deliveryByID(t, s.l, 2)
			if got := b.State == InDoubt && b.Reason == "restored"; got != c.older {
				t.Fatalf("the planned delivery is %s (%s)", b.State, b.Reason)
			}
			if c.older && (!b.Own || b.DoubtSince.Before(s.c.now()) || queryInt(t, s.l, "SELECT restore_epoch FROM meta") != s.c.now().UnixMilli()) {
				t.Errorf("own %v, doubt since %s", b.Own, b.DoubtSince)
			}
			verified(t, s.l)
			// Found once: the next start is a start as any other.
			epoch := queryInt(t, s.l, "SELECT restore_epoch FROM meta")
			must[Decided](t)(s.l.Decide(t.Context(), see(t, s.l, "s", "later.wav").ID, 1, laterFile(t, s)))
			closeOnce(t, s.l)
			s.c.advance(time.Hour)
			s.open()
			if again := queryInt(t, s.l, "SELECT restore_epoch FROM meta"); again != epoch {
				t.Error("the next start found it older again")
			}
		})
	}
}

// laterFile decides about a recording that came after everything else.
func laterFile(t *testing.T, s *site) Decision {
	t.Helper()
	d := ready("later", "", "alpha")
	look := lookOf(99)
	look.Identity.MtimeNS = s.c.now().Add(time.Minute).UnixNano()
	look.Identity.CtimeNS = look.Identity.MtimeNS
	d.Look = &look
	return d
}

func giveOrder(s *site) {
	s.t.Helper()
	_, _, err := Order(s.t.Context(), s.path, NewOrder{Kind: "retry", DeliveryIDs: []int64{2}, By: "the test"})
	check(s.t, err)
}

// unsynced does something and then cuts the power: what the mark says since
// its last sync is lost.
func (s *site) unsynced(do func()) {
	s.t.Helper()
	check(s.t, s.l.water.sync())
	mark, err := os.ReadFile(waterPath(s.path))
	check(s.t, err)
	do()
	s.frozen()
	check(s.t, os.WriteFile(waterPath(s.path), mark, 0o600))
}

func flip(t *testing.T, path string, at int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	check(t, err)
	b := []byte{0}
	_, err = f.ReadAt(b, at)
	check(t, err)
	b[0] ^= 0xff
	_, err = f.WriteAt(b, at)
	check(t, errors.Join(err, f.Close()))
}

// A file that was there when the older ledger was found begins in doubt, also
// one that the ledger never knew; a file that came later does not.
func TestFilesBeforeTheEpochBeginInDoubt(t *testing.T) {
	s := newSite(t)
	closeOnce(t, s.l)
	check(t, os.Remove(waterPath(s.path)))
	s.open()
	s.c.advance(-time.Second)
	closeOnce(t, s.l)
	s.open()
	s.c.advance(2 * time.Hour)
	_, ds := planned(t, s.l, "there.wav", "there", "", "alpha") // its times are the epoch's
	if d := ds[0]; d.State != Planned && d.State != InDoubt {
		t.Fatalf("%+v", d)
	} else if d.State == Planned {
		t.Fatal("a file from before the epoch is planned")
	} else if !d.Own {
		t.Error("a duplicate answer would be taken for another's recording")
	} else if d.Created.After(epoch) {
		t.Errorf("the vendor is asked about the time since %s only: the upload may have been earlier", d.Created)
	}
	r := see(t, s.l, "s", "later.wav")
	must[Decided](t)(s.l.Decide(t.Context(), r.ID, r.Ver, laterFile(t, s)))
	if d := deliveriesOf(t, s.l, r.ID)[0]; d.State != Planned || d.Own {
		t.Errorf("a file from after the epoch: %+v", d)
	}
}

// Every open state goes in doubt, an old doubt begins anew, and what is final
// or a person's stays. A crash half-way goes on at the next opening.
func TestRestoreEveryState(t *testing.T) {
	s := newSite(t)
	_, ds := planned(t, s.l, "a.wav", "a", "", "planned", "declaring", "declared", "sending", "committing", "in_doubt", "accepted", "held", "rejected", "cancelled")
	want := []State{InDoubt, InDoubt, InDoubt, InDoubt, InDoubt, InDoubt, Accepted, Held, Rejected, Cancelled}
	for i, way := range [][]State{
		{}, {Declaring}, {Declaring, Declared}, {Sending}, {Sending, Committing}, {Sending, Committing, InDoubt},
		{Sending, Committing, Accepted}, {Held}, {Rejected}, {Cancelled},
	} {
		walk(t, s.l, ds[i], way...)
	}
	asked := deliveryByID(t, s.l, ds[5].ID)
	_, err := s.l.Move(t.Context(), asked.ID, asked.Ver, Step{From: InDoubt, To: InDoubt, Class: "asked", Reason: "absent_once", NextAttempt: s.c.now().Add(time.Hour)})
	check(t, err)
	closeOnce(t, s.l)
	check(t, os.Remove(waterPath(s.path)))
	s.c.advance(time.Hour)
	s.open()
	for i, d := range ds {
		got := deliveryByID(t, s.l, d.ID)
		if got.State != want[i] {
			t.Errorf("%s became %s", d.Destination, got.State)
		}
		if doubt := want[i] == InDoubt; doubt && (got.Reason != "restored" || !got.DoubtSince.Equal(s.c.now()) || got.NextAttempt.After(s.c.now()) || got.Crashes != 0) {
			t.Errorf("%s: %+v", d.Destination, got)
		}
	}
	if got := must[Recovered](t)(s.l.Recover(t.Context(), vendor)); got.Total() != 0 {
		t.Errorf("recovered %+v after the restore", got)
	}
	verified(t, s.l)
	// The crash: the epoch is durable, the deliveries are not in doubt yet.
	check(t, s.l.w.write(t.Context(), "half", func(x *tx) error {
		return errors.Join(x.move(shortDelivery{ID: ds[7].ID, Ver: deliveryByID(t, s.l, ds[7].ID).Ver, RecordingID: ds[7].RecordingID, State: Held},
			Step{From: Held, To: Planned, Class: "operator"}), x.exec("UPDATE meta SET restoring = 1"))
	}))
	s.frozen()
	s.open()
	if got := deliveryByID(t, s.l, ds[7].ID); got.State != InDoubt {
		t.Errorf("after a crash in the restore: %s", got.State)
	}
	if n := queryInt(t, s.l, "SELECT restoring FROM meta"); n != 0 {
		t.Error("the restore never ends")
	}
}

// The mark never runs ahead of the ledger: not after a write that was undone,
// alone or beside others.
func TestMarkNeverRunsAhead(t *testing.T) {
	l, _ := openTest(t)
	planned(t, l, "a.wav", "a", "", "alpha")
	undone := func(x *tx) error {
		for range 5 {
			if err := x.event(event{recording: 1, to: "settling"}); err != nil {
				return err
			}
		}
		return errors.New("on purpose")
	}
	together(t, l, note("a"), undone)
	together(t, l, undone, note("b"))
	if err := l.w.write(t.Context(), "alone", undone); err == nil {
		t.Fatal("not undone")
	}
	m := must[*waterMark](t)(readWater(l.path))
	if last := queryInt(t, l, "SELECT seq FROM sqlite_sequence WHERE name = 'events'"); m.Event != last || last == 0 {
		t.Errorf("the mark is at %d, the ledger at %d", m.Event, last)
	}
	see(t, l, "s", "b.wav")
	m = must[*waterMark](t)(readWater(l.path))
	if last := queryInt(t, l, "SELECT seq FROM sqlite_sequence WHERE name = 'events'"); m.Event != last {
		t.Errorf("the mark is at %d, the ledger at %d", m.Event, last)
	}
	info, err := os.Stat(waterPath(l.path))
	check(t, err)
	if info.Size() != waterSize || info.Mode().Perm() != 0o600 {
		t.Errorf("%d bytes, mode %#o", info.Size(), info.Mode().Perm())
	}
}

// A ledger of the version before kept no mark; that is no sign of anything.
func TestUpgradeHasNoMark(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	first := must[schema](t)(programSchema())
	s := schema{files: onlyFirst{first.files}, version: 1}
	check(t, os.WriteFile(path, nil, 0o600))
	check(t, build(t.Context(), path, s, "0123456789abcdef", 0, epoch))
	check(t, writeMarker(filepath.Dir(path), "0123456789abcdef"))
	db := connect(path, dsnWrite, 1)
	_, err := db.Exec("UPDATE meta SET boot = 'earlier'")
	check(t, errors.Join(err, db.Close()))
	l := openAt(t, path, newClock())
	if n := queryInt(t, l, "SELECT restore_epoch FROM meta"); n != 0 {
		t.Error("an upgrade was taken for a restore")
	}
	if backups, _ := filepath.Glob(path + ".v1-*.backup"); len(backups) != 1 {
		t.Errorf("backups: %v", backups)
	}
}

// A start that fails after the ledger was opened for writing leaves nothing
// that the next one would take for an older ledger.
func TestFailedStartIsNoRestore(t *testing.T) {
	s := newSite(t)
	planned(t, s.l, "a.wav", "a", "", "alpha")
	s.frozen()
	bad := oneMore(t, "NO SQL;\n")
	if _, err := open(t.Context(), Options{Path: s.path, Now: s.c.now}, bad); err == nil || !strings.Contains(err.Error(), "migrate") {
		t.Fatalf("%v", err)
	}
	s.open()
	if n := queryInt(t, s.l, "SELECT restore_epoch FROM meta"); n != 0 {
		t.Error("a failed start was taken for a restore")
	}
}
