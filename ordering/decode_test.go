package ordering_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand"
	"slices"
	"strings"
	"testing"

	. "tertulia/ordering"
)

func reason(err error) Reason {
	var r *Refusal
	if errors.As(err, &r) {
		return r.Reason
	}
	return ""
}

func TestNothingDecodesWhenCutShortOrProlonged(t *testing.T) {
	type decode struct {
		name  string
		bytes []byte
		do    func([]byte) error
	}
	var all []decode
	genesis, chain := entries()
	for i, e := range append(chain, genesis) {
		all = append(all, decode{fmt.Sprintf("entry %d", i), e.Bytes(), func(b []byte) error { _, err := DecodeEntry(b); return err }})
	}
	for name, r := range runs() {
		all = append(all, decode{name, r.Run().Bytes(), func(b []byte) error { _, err := DecodeRun(b); return err }})
	}
	for _, b := range bodies {
		all = append(all, decode{b.name, b.bytes, func(raw []byte) error { _, err := b.again(raw); return err }})
	}
	for _, d := range all {
		if err := d.do(d.bytes); err != nil {
			t.Fatalf("%s: %v", d.name, err)
		}
		for n := range d.bytes {
			if d.do(d.bytes[:n:n]) == nil {
				t.Errorf("%s: decodes from its first %d of %d bytes", d.name, n, len(d.bytes))
			}
		}
		if d.do(append(slices.Clone(d.bytes), 0)) == nil {
			t.Errorf("%s: decodes with a byte after it", d.name)
		}
	}
}

func TestAnEntryIsRefusedWhen(t *testing.T) {
	ref := func(b byte, seq uint64) Ref { return Ref{EntryID{origin(b), seq}, fill(b)} }
	sorted := []Ref{ref(1, 1), ref(3, 1), ref(4, 1)}
	slices.SortFunc(sorted, func(a, b Ref) int { return a.Origin.Compare(b.Origin) })
	many := make([]Ref, MaxDeps+1)
	for i := range many {
		many[i] = ref(1, 1)
		many[i].Origin.Device = DeviceKey{}
		many[i].Origin.Device[0] = byte(i)
	}
	good := func() Entry {
		return Entry{Origin: origin(2), Seq: 1, TS: 1, Kind: KindMessage, Client: SignClient(key(9), RoomID{}, 0, origin(2).Device, "id", nil), Deps: sorted}
	}
	most := good()
	most.Deps, most.Body, most.Client.ID = many[:MaxDeps], make([]byte, MaxBody), strings.Repeat("i", MaxClientID)
	for _, e := range []Entry{good(), most} {
		if _, err := DecodeEntry(Seal(e).Bytes()); err != nil {
			t.Fatalf("within all limits: %v", err)
		}
	}
	for _, c := range []struct {
		name   string
		change func(*Entry)
	}{
		{"its seq is 0", func(e *Entry) { e.Seq = 0 }},
		{"its ts is 0", func(e *Entry) { e.TS = 0 }},
		{"its deps descend", func(e *Entry) { e.Deps = []Ref{sorted[1], sorted[0]} }},
		{"a dep stands there twice", func(e *Entry) { e.Deps = []Ref{sorted[0], sorted[0]} }},
		{"two deps are of one origin", func(e *Entry) {
			later := sorted[0]
			later.Seq++
			e.Deps = []Ref{sorted[0], later}
		}},
		{"a dep is its author's own", func(e *Entry) { e.Deps = []Ref{ref(2, 1)} }},
		{"a dep has seq 0", func(e *Entry) { e.Deps = []Ref{ref(1, 0)} }},
		{"it has 65 deps", func(e *Entry) { e.Deps = many }},
		{"its body is a byte too long", func(e *Entry) { e.Body = make([]byte, MaxBody+1) }},
		{"its client id is empty", func(e *Entry) { e.Client.ID = "" }},
		{"its client id has 65 bytes", func(e *Entry) { e.Client.ID = strings.Repeat("i", MaxClientID+1) }},
	} {
		e := good()
		c.change(&e)
		if _, err := DecodeEntry(Seal(e).Bytes()); err == nil {
			t.Errorf("an entry decodes although %s", c.name)
		}
	}
}

func TestAFlagIsZeroOrOne(t *testing.T) {
	_, chain := entries()
	raw := slices.Clone(chain[0].Bytes()) // without deps, stamp and body: the flag stands before the body's length
	at := len(raw) - 5
	for v := 2; v < 256; v++ {
		raw[at] = byte(v)
		if _, err := DecodeEntry(raw); err == nil {
			t.Errorf("a stamp flag of %d decodes", v)
		}
	}
	raw = sample.payload.Encode()
	raw[1+SaltSize+4+len(sample.payload.Name)] = 2
	if _, err := DecodePayload(raw); err == nil {
		t.Error("a reply flag of 2 decodes")
	}
}

func TestUnknownVersionsAreRefused(t *testing.T) {
	_, chain := entries()
	entry := slices.Clone(chain[0].Bytes())
	entry[0]++
	if _, err := DecodeEntry(entry); err == nil {
		t.Error("an entry of version 2 decodes")
	}
	run := runs()["run of 1"].Run().Bytes()
	run[0]++
	if _, err := DecodeRun(run); err == nil {
		t.Error("a run of version 2 decodes")
	}
	for _, b := range bodies {
		raw := slices.Clone(b.bytes)
		raw[0]++
		if _, err := b.again(raw); err == nil {
			t.Errorf("%s of version 2 decodes", b.name)
		}
	}
}

func TestARunHasOneTo64EntriesAnd256KiB(t *testing.T) {
	chain := []*Entry{Seal(Entry{Origin: origin(2), Seq: 1, TS: 1, Kind: KindNull})}
	for len(chain) < MaxRunEntries+1 {
		p := chain[len(chain)-1]
		chain = append(chain, Seal(Entry{Origin: p.Origin, Seq: p.Seq + 1, TS: p.TS + 1, Prev: p.Hash(), Kind: KindNull}))
	}
	for n, ok := range map[int]bool{1: true, MaxRunEntries: true, MaxRunEntries + 1: false} {
		if _, err := DecodeRun(SignRun(key(2), chain[:n]...).Run().Bytes()); (err == nil) != ok {
			t.Errorf("a run of %d entries: %v", n, err)
		}
	}
	none := binary.BigEndian.AppendUint16([]byte{1}, 0)
	if _, err := DecodeRun(append(none, make([]byte, 64)...)); err == nil {
		t.Error("a run of no entry decodes")
	}
	if _, err := VerifyRun(Run{}); reason(err) != Malformed {
		t.Errorf("a run of no entry: %v", err)
	}
	var big []*Entry
	for i := range 4 {
		e := Entry{Origin: origin(2), Seq: uint64(i + 1), TS: 1, Kind: KindJoined, Body: make([]byte, MaxBody)}
		if i > 0 {
			e.Prev = big[i-1].Hash()
		}
		big = append(big, Seal(e))
	}
	for n, ok := range map[int]bool{3: true, 4: false} {
		r := SignRun(key(2), big[:n]...).Run()
		if r.Size() != len(r.Bytes()) {
			t.Errorf("Size is %d, there are %d bytes", r.Size(), len(r.Bytes()))
		}
		if _, err := DecodeRun(r.Bytes()); (err == nil) != ok {
			t.Errorf("a run of %d bytes: %v", r.Size(), err)
		}
	}
}

// Whatever an attacker does with a signed run, nothing but the run verifies.
func TestASignedRunCanNotBe(t *testing.T) {
	genesis, chain := entries()
	whole := SignRun(key(2), chain...).Run()
	if _, err := VerifyRun(whole); err != nil {
		t.Fatal(err)
	}
	four := Seal(Entry{Room: chain[0].Room, Origin: origin(2), Seq: 4, Prev: chain[2].Hash(), TS: 12, Kind: KindNull})
	other := func(change func(*Entry)) *Entry {
		e := *chain[2]
		e.Deps = nil
		change(&e)
		return Seal(e)
	}
	forged := *chain[2].Client
	forged.Hash[0]++
	moved := SignClient(key(9), RoomID(fill(1)), 0, origin(2).Device, "client-1", sample.payload.Encode())
	for _, c := range []struct {
		name string
		run  Run
		want Reason
	}{
		{"cut at its end", Run{chain[:2], whole.Sig}, BadSignature},
		{"cut at its beginning", Run{chain[1:], whole.Sig}, BadSignature},
		{"thinned", Run{[]*Entry{chain[0], chain[2]}, whole.Sig}, BadChain},
		{"extended", Run{append(slices.Clone(chain), four), whole.Sig}, BadSignature},
		{"put before a genesis", Run{[]*Entry{genesis, chain[0]}, whole.Sig}, BadChain},
		{"given another last entry", Run{[]*Entry{chain[0], chain[1], other(func(e *Entry) { e.Kind = KindLeft })}, whole.Sig}, BadSignature},
		{"given another generation at its end", Run{[]*Entry{chain[0], chain[1], other(func(e *Entry) { e.Gen = 1; e.Client = nil })}, whole.Sig}, BadChain},
		{"given another author", Run{[]*Entry{Seal(Entry{Room: chain[0].Room, Origin: origin(3), Seq: 1, TS: 9, Kind: KindNull})}, SignRun(key(2), chain[0]).Run().Sig}, BadSignature},
		{"given a forged stamp", SignRun(key(2), other(func(e *Entry) { e.Client = &forged })).Run(), BadClientSignature},
		{"given a stamp of another room", SignRun(key(2), other(func(e *Entry) { e.Client = moved })).Run(), BadClientSignature},
		{"reordered", Run{[]*Entry{chain[1], chain[0]}, whole.Sig}, BadChain},
	} {
		if _, err := VerifyRun(c.run); reason(err) != c.want {
			t.Errorf("a run %s: %v, want %s", c.name, err, c.want)
		}
	}
	for bit := range 8 * len(whole.Sig) {
		r := whole
		r.Sig[bit/8] ^= 1 << (bit % 8)
		if _, err := VerifyRun(r); reason(err) != BadSignature {
			t.Fatalf("with bit %d of the signature turned: %v", bit, err)
		}
	}
	raw := whole.Bytes()
	for i := range raw { // every byte is covered by one signature or the shape
		raw[i] ^= 0x40
		if r, err := DecodeRun(raw); err == nil {
			if _, err := VerifyRun(r); err == nil {
				t.Fatalf("verifies with byte %d changed", i)
			}
		}
		raw[i] ^= 0x40
	}
}

func TestNamesAndTextsAreUTF8(t *testing.T) {
	bad := "a\xff\xfe"
	g, h := sample.genesis, sample.genesis
	g.Name, h.NodeName = bad, bad
	a := sample.admit
	a.Name = bad
	p, q, empty, long := sample.payload, sample.payload, sample.payload, sample.payload
	p.Name, q.Text, empty.Name, long.Name = bad, bad, "", strings.Repeat("n", MaxName+1)
	mode := sample.genesis
	mode.Mode = 3
	tooLong := sample.payload
	tooLong.Text = strings.Repeat("x", MaxText+1)
	for name, err := range map[string]error{
		"room name":   second(DecodeGenesis(g.Encode())),
		"node name":   second(DecodeGenesis(h.Encode())),
		"mode 3":      second(DecodeGenesis(mode.Encode())),
		"admit name":  second(DecodeAdmit(a.Encode())),
		"author name": second(DecodePayload(p.Encode())),
		"text":        second(DecodePayload(q.Encode())),
		"no name":     second(DecodePayload(empty.Encode())),
		"long name":   second(DecodePayload(long.Encode())),
		"long text":   second(DecodePayload(tooLong.Encode())),
	} {
		if err == nil {
			t.Errorf("%s: decodes", name)
		}
	}
	fits := sample.payload
	fits.Text, fits.Name = strings.Repeat("x", MaxText), strings.Repeat("n", MaxName)
	fits.ReplyTo = sample.reply.ReplyTo
	if _, err := DecodePayload(fits.Encode()); err != nil {
		t.Errorf("the longest payload: %v", err)
	}
	if len(fits.Encode())+64 > MaxBody {
		t.Errorf("the longest payload has %d bytes; sealed it does not fit MaxBody", len(fits.Encode()))
	}
}

func second[T any](_ T, err error) error { return err }

func TestAKeyGrantServesEveryMember(t *testing.T) {
	g := KeyGrant{Keys: make([]SealedKey, MaxMembers)}
	if b := g.Encode(); len(b) > MaxBody {
		t.Errorf("a grant for %d members has %d bytes", MaxMembers, len(b))
	} else if _, err := DecodeKeyGrant(b); err != nil {
		t.Error(err)
	}
	g.Keys = append(g.Keys, SealedKey{})
	if _, err := DecodeKeyGrant(g.Encode()); err == nil {
		t.Error("a grant for more than all members decodes")
	}
}

// randomEntry returns an entry within all limits.
func randomEntry(r *rand.Rand) Entry {
	bytes := func(n int) []byte {
		b := make([]byte, n)
		r.Read(b)
		return b
	}
	e := Entry{Gen: r.Uint64(), Origin: origin(byte(r.Intn(8))), Seq: r.Uint64()>>r.Intn(63) | 1, TS: r.Uint64() | 1, WallMS: int64(r.Uint64()), Kind: Kind(r.Intn(256))}
	copy(e.Room[:], bytes(HashSize))
	copy(e.Prev[:], bytes(HashSize))
	if n := r.Intn(2000); n > 0 {
		e.Body = bytes(n)
	}
	if r.Intn(2) == 0 {
		e.Client = SignClient(key(9), e.Room, e.Gen, e.Origin.Device, string(bytes(1+r.Intn(MaxClientID))), e.Body)
	}
	for range r.Intn(MaxDeps) {
		var d Ref
		copy(d.Origin.Device[:], bytes(DeviceSize))
		copy(d.Hash[:], bytes(HashSize))
		d.Seq = r.Uint64() | 1
		e.Deps = append(e.Deps, d)
	}
	slices.SortFunc(e.Deps, func(a, b Ref) int { return a.Origin.Compare(b.Origin) })
	return e
}

func TestDecodingGivesBackWhatWasEncoded(t *testing.T) {
	r := rand.New(rand.NewSource(1))
	for range 500 {
		e := Seal(randomEntry(r))
		f, err := DecodeEntry(e.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		if e.Hash() != f.Hash() || !e.Equal(f) || !bytes.Equal(Seal(*f).Bytes(), e.Bytes()) {
			t.Fatalf("came back as another entry: %v", f.ID())
		}
		if f.Seq != e.Seq || f.TS != e.TS || f.WallMS != e.WallMS || f.Kind != e.Kind || f.Gen != e.Gen || f.Room != e.Room ||
			f.Prev != e.Prev || !slices.Equal(f.Deps, e.Deps) || !bytes.Equal(f.Body, e.Body) || (f.Client == nil) != (e.Client == nil) ||
			f.Client != nil && *f.Client != *e.Client {
			t.Fatalf("a field changed: %+v, was %+v", f, e)
		}
		if e.Client != nil && !f.Client.Verify(f.Room, f.Gen, f.Origin.Device) {
			t.Fatal("the stamp does not verify")
		}
	}
}

func TestKeyBytesCompareLikeKeys(t *testing.T) {
	r := rand.New(rand.NewSource(2))
	random := func() Key {
		k := Key{TS: r.Uint64() >> r.Intn(64), EntryID: EntryID{Seq: r.Uint64() >> r.Intn(64)}}
		if r.Intn(2) == 0 {
			k.TS = uint64(r.Intn(3))
		}
		k.Origin.Device[r.Intn(DeviceSize)] = byte(r.Intn(3))
		k.Origin.Instance[r.Intn(InstanceSize)] = byte(r.Intn(256))
		return k
	}
	sign := map[int]int{}
	for range 20000 {
		a, b := random(), random()
		if r.Intn(4) == 0 {
			b.Origin = a.Origin
		}
		got, want := bytes.Compare(a.Bytes(), b.Bytes()), a.Compare(b)
		if got != want || b.Compare(a) != -want {
			t.Fatalf("%v and %v: bytes say %d, Compare says %d", a, b, got, want)
		}
		sign[want]++
		if len(a.Bytes()) != KeySize {
			t.Fatalf("%d bytes", len(a.Bytes()))
		}
	}
	if sign[-1] == 0 || sign[1] == 0 {
		t.Fatalf("one-sided sample: %v", sign)
	}
}

func TestIDsReadBack(t *testing.T) {
	id := EntryID{origin(1), 42}
	tag, seq, err := ParseEntryID(id.String())
	if err != nil || tag != OriginTag(id.Origin) || seq != 42 {
		t.Errorf("%s: %s %d %v", id, tag, seq, err)
	}
	for _, s := range []string{"", "/", "abc/1", tag, tag + "/", tag + "/0", tag + "/-1", tag + "/1/2", "x" + tag + "/1"} {
		if _, _, err := ParseEntryID(s); err == nil {
			t.Errorf("%q reads as an id", s)
		}
	}
	a, b := origin(1), origin(1)
	b.Instance[0]++
	if a.Tag() == b.Tag() {
		t.Error("two instances have one tag")
	}
	if len(origin(1).Device.Fingerprint()) != 8*4+7 {
		t.Errorf("fingerprint %q", origin(1).Device.Fingerprint())
	}
}

func TestVectorHashesAreEqualForEqualVectors(t *testing.T) {
	v := Vector{origin(1): 3, origin(2): 0}
	w := Vector{origin(1): 3}
	if v.Hash() != w.Hash() {
		t.Error("an absent origin differs from 0")
	}
	w[origin(2)] = 1
	if v.Hash() == w.Hash() || !w.Covers(v) || v.Covers(w) || w.Count() != 4 {
		t.Errorf("%v and %v", v, w)
	}
	v.Merge(w)
	if v.Hash() != w.Hash() {
		t.Error("Merge differs")
	}
}

// FuzzDecodeRun: nothing panics, and what decodes is the one encoding of its value.
func FuzzDecodeRun(f *testing.F) {
	for _, r := range runs() {
		f.Add(r.Run().Bytes())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := DecodeRun(b)
		if err != nil {
			return
		}
		if !bytes.Equal(r.Bytes(), b) || r.Size() != len(b) {
			t.Fatal("a run has two encodings")
		}
		for _, e := range r.Entries {
			if s := Seal(*e); !s.Equal(e) || s.Hash() != e.Hash() {
				t.Fatal("an entry has two encodings")
			}
		}
		if _, err := VerifyRun(r); err != nil && reason(err) == "" {
			t.Fatalf("an unnamed refusal: %v", err)
		}
	})
}
