// Package terminal is the conversation of `tertulia chat`: lines in, a room's
// messages out, in words for people or as JSON lines for programs.
//
// One goroutine, in Run, owns all state and writes all output. Three others
// post to it: the reader of stdin, the listener of the room, and the worker
// that hands lines to the node one after the other, so that they keep their
// order. While the node does not answer, lines wait, and everybody redials.
package terminal

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"golang.org/x/text/unicode/norm"

	"tertulia/chat"
	"tertulia/client"
)

// Limits of a conversation.
const (
	maxQueue       = 1000                   // lines that wait for the node; then stdin is not read further
	maxRemembered  = 1000                   // sent messages whose replacement would be told; rooms whose place is kept
	maxUnfinal     = 100_000                // with UntilFinal, own lines that are not final; then stdin is not read further
	maxReaders     = 10_000                 // persons, counted once a room, whose reading is told
	maxNamed       = 10                     // lines that the last error quotes
	maxQuotedRunes = 40                     // of each
	historyLines   = 50                     // messages that /history shows
	minPause       = 50 * time.Millisecond  // before trying again; doubles
	maxPause       = 2 * time.Second        // longest such pause
	showWait       = 1 * time.Second        // at the end, for the last message to be shown after it was sent
	roomPoll       = 500 * time.Millisecond // between looks at a room that is being joined
	stillWait      = 3 * time.Second        // without a new final, before people are told what is waited for
)

// Config is what a conversation needs.
type Config struct {
	In       io.Reader
	Out      io.Writer
	JSON     bool
	Colour   bool
	Width    int // columns of the terminal; 0 = not a terminal
	Room     string
	Username string
	Wait     time.Duration // for a room that is being joined, and at the end of In for what is unsent
	Follow   bool          // go on listening after the end of In
	Replay   bool          // show final messages from index From on
	From     uint64
	// UntilFinal waits at the end of In until every line is final, not only sent.
	UntilFinal bool
}

// Run talks until In ends and every line of it is sent (with UntilFinal: is
// final), or ctx ends. It returns nil when no line is left, else a chat.Error
// that names those.
func Run(ctx context.Context, c *client.Client, cfg Config) error {
	room, err := awaitRoom(ctx, c, cfg.Room, cfg.Wait)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	t := &talk{
		c:       c,
		cfg:     cfg,
		name:    strings.TrimSpace(norm.NFC.String(cfg.Username)), // as nodes write it
		print:   Printer{Out: cfg.Out, JSON: cfg.JSON, Colour: cfg.Colour, Width: cfg.Width},
		lines:   make(chan input),
		work:    make(chan job),
		done:    make(chan result),
		heard:   make(chan heard),
		waiting: make(chan waitingFor),
		cursors: make(map[string]*client.Cursor),
		own:     make(map[ownKey]*own),
		read:    make(map[readKey]uint64),
	}
	// The reader of In is not waited for: nothing can interrupt its read. It
	// ends with In, or with the process.
	go readLines(ctx, cfg.In, cfg.JSON, t.lines)
	t.wg.Go(func() { t.handOver(ctx) })
	defer t.wg.Wait()
	defer cancel()
	t.enter(ctx, room)
	return t.run(ctx)
}

// awaitRoom waits until the room is joined, for at most wait.
func awaitRoom(ctx context.Context, c *client.Client, ref string, wait time.Duration) (chat.Room, error) {
	limit := time.NewTimer(wait)
	defer limit.Stop()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	changes := c.Changes(ctx)
	for {
		room, err := c.Room(ctx, ref)
		if err != nil {
			return chat.Room{}, err
		}
		switch room.State {
		case chat.Joined:
			return room, nil
		case chat.Failed:
			return chat.Room{}, chat.Errorf(chat.CodeForbidden, "The room %s could not be joined: %s", room.Name, room.Reason).
				WithHint("Ask a member for a new invite.")
		case chat.Joining:
		}
		select {
		case <-changes:
		case <-time.After(roomPoll):
		case <-ctx.Done():
			return chat.Room{}, ctx.Err()
		case <-limit.C:
			return chat.Room{}, chat.Errorf(chat.CodeUnreachable, "The room %s is still being joined.", room.Name).
				WithHint("A member has to be reachable. Wait longer with --wait, or look at: tertulia status")
		}
	}
}

// talk is the state of a conversation; run's goroutine owns it.
type talk struct {
	c     *client.Client
	cfg   Config
	name  string
	print Printer
	wg    sync.WaitGroup

	lines   chan input      // from the reader of In
	work    chan job        // to the worker
	done    chan result     // from the worker
	heard   chan heard      // from the listener
	waiting chan waitingFor // from whoever asked whom the room waits for

	room     chat.Room
	leave    context.CancelFunc // ends the listener
	left     chan struct{}      // closed when it has ended
	attached bool
	caughtUp bool
	cursors  map[string]*client.Cursor // by room id; that of room is the listener's

	queue   []input
	busy    *input // what the worker has
	refused []input
	awaited string // client id of the newest line handed over, until it is shown

	own    map[ownKey]*own    // lines handed over and not known to be sent and final
	handed uint64             // lines handed over
	read   map[readKey]uint64 // how far persons were told to have read
	self   string             // SenderID of our own messages, "" until one was seen

	stall
}

// ownKey names a line of our own: its room and its client id.
type ownKey struct{ roomID, clientID string }

// readKey names a person in a room.
type readKey struct{ roomID, person string }

// own is a line on its way.
type own struct {
	number uint64 // counts the lines
	room   chat.Room
	input  // its text cut short
	digest [sha256.Size]byte
	id     string // that `sent` named, "" before
	final  string // the id that became final, "" before
}

// job is a line for the worker and the room it was meant for.
type job struct {
	input
	room chat.Room
}

// result is what became of a job.
type result struct {
	input
	sent  chat.Sent
	err   error
	final string // the id of a repeat that was final already
	room  chat.Room
	reply func(*Printer)
	enter *chat.Room // the room to go to
}

// heard is what the listener tells: one of its fields.
type heard struct {
	attached *client.Attached
	message  *chat.Message
	reader   *chat.Reader
	caughtUp bool
	detached error
	fatal    error // never attached, and trying again will not help

	known     bool   // message is final and was shown as tentative
	tentative int    // messages shown that are not final
	index     uint64 // of the newest final message shown
}

func (t *talk) run(ctx context.Context) error {
	var ended bool
	var limit, shown <-chan time.Time
	for {
		var lines <-chan input
		if !ended && len(t.queue) < maxQueue && (!t.cfg.UntilFinal || len(t.own) < maxUnfinal) {
			lines = t.lines
		}
		var work chan<- job
		var next job
		if t.ready() {
			work, next = t.work, job{t.queue[0], t.room}
		}
		select {
		case <-ctx.Done():
			return t.verdict()
		case <-limit:
			return t.verdict()
		case <-shown:
			return t.verdict()
		case in, open := <-lines:
			if !open || in.command == "/quit" {
				ended = true
				if !t.cfg.Follow || open {
					limit = time.After(t.cfg.Wait)
					t.cfg.Follow = false
				}
				break
			}
			t.take(in)
		case work <- next:
			t.busy = &t.queue[0]
			if next.command == "" {
				t.awaited = next.clientID
				t.follow(next)
			}
			t.queue = t.queue[1:]
		case r := <-t.done:
			t.busy = nil
			t.finish(ctx, r)
		case h := <-t.heard:
			if h.fatal != nil {
				return h.fatal
			}
			t.hear(h)
		case <-t.stall.timer:
			t.ask(ctx)
		case w := <-t.waiting:
			t.tellWaiting(w)
		}
		if t.print.Err != nil {
			return &chat.Error{Code: chat.CodeInternal, Message: "The output is closed.", Err: t.print.Err}
		}
		if !ended || t.cfg.Follow || t.busy != nil || len(t.queue) > 0 || !t.caughtUp {
			continue
		}
		switch {
		case t.cfg.UntilFinal && len(t.own) > 0:
			t.goBack(ctx)
		case t.awaited == "":
			return t.verdict()
		case shown == nil:
			shown = time.After(showWait)
		}
	}
}

// goBack goes to a room in which a line of our own is not final, unless there is
// one in the room of now.
func (t *talk) goBack(ctx context.Context) {
	for _, o := range t.own {
		if o.room.ID == t.room.ID {
			return
		}
	}
	t.enter(ctx, t.unfinal()[0].room)
}

// ready reports whether the worker may have the next line. A room is left only
// when the last message said in it has been shown.
func (t *talk) ready() bool {
	return t.attached && t.busy == nil && len(t.queue) > 0 &&
		(t.queue[0].command != "/room" || t.awaited == "")
}

// take puts a line into the queue.
func (t *talk) take(in input) {
	if in.problem != nil {
		t.print.problem(in.problem, in.clientID)
		return
	}
	if in.command == "" {
		if in.clientID == "" {
			in.clientID = uuid.NewString()
		}
	}
	t.queue = append(t.queue, in)
}

// finish tells what became of a line.
func (t *talk) finish(ctx context.Context, r result) {
	switch {
	case r.err != nil && ctx.Err() != nil:
		t.busy = &r.input // cut off: nobody knows whether it was sent
	case r.err != nil:
		t.print.problem(r.err, r.clientID)
		if r.command == "" {
			t.refused = append(t.refused, r.input)
			if o := t.ownOf(r); o != nil && o.id == "" {
				delete(t.own, ownKey{r.room.ID, r.clientID})
			}
			t.shown(r.clientID)
		}
	case r.command == "":
		t.print.sent(r.sent)
		if r.sent.Duplicate {
			t.shown(r.clientID)
		}
		if o := t.ownOf(r); o != nil {
			o.id, o.final = r.sent.ID, cmp.Or(o.final, r.final)
			t.settle(o)
		}
	default:
		r.reply(&t.print)
		if r.enter != nil {
			t.enter(ctx, *r.enter)
		}
	}
}

func (t *talk) shown(clientID string) {
	if t.awaited == clientID {
		t.awaited = ""
	}
}

// ownOf returns the line that r is about, nil when it is not followed.
func (t *talk) ownOf(r result) *own {
	o := t.own[ownKey{r.room.ID, r.clientID}]
	if o == nil || o.digest != sha256.Sum256([]byte(r.text)) {
		return nil
	}
	return o
}

// follow notes a line that is handed over, the first one of a client id.
func (t *talk) follow(j job) {
	if t.own[ownKey{j.room.ID, j.clientID}] != nil {
		return
	}
	t.handed++
	o := &own{number: t.handed, room: j.room, input: j.input, digest: sha256.Sum256([]byte(j.text))}
	o.text = quote(j.text)
	t.own[ownKey{j.room.ID, j.clientID}] = o
	if t.cfg.UntilFinal || len(t.own) <= maxRemembered {
		return
	}
	for k, other := range t.own {
		if other.number < t.handed-maxRemembered {
			delete(t.own, k)
		}
	}
}

// settle tells when another message is final in o's stead, and forgets o once it
// is sent and final.
func (t *talk) settle(o *own) {
	if o.id == "" || o.final == "" {
		return
	}
	if o.id != o.final {
		t.print.replaced(o.id, o.final, o.clientID)
	}
	delete(t.own, ownKey{o.room.ID, o.clientID})
}

// lineOf returns the line of our own that m, or of which m is a repeat; nil when
// there is none.
func (t *talk) lineOf(m chat.Message) *own {
	o := t.own[ownKey{m.RoomID, m.ClientID}]
	if o == nil || m.Kind != chat.KindText {
		return nil
	}
	mine := m.ID == o.id || m.Mine && m.Sender == t.name
	if mine {
		t.self = m.SenderID
	} else if t.self == "" || m.SenderID != t.self {
		return nil // another person's
	}
	if m.ID != o.id && sha256.Sum256([]byte(m.Text)) != o.digest {
		return nil // said through another node, where the id was free
	}
	return o
}

func (t *talk) hear(h heard) {
	switch {
	case h.attached != nil:
		t.attached = true
		t.print.attached(*h.attached, h.index)
	case h.message != nil:
		m := *h.message
		// People read a line once; programs want to know that it is final.
		if t.cfg.JSON || !h.known {
			t.print.Message(m)
		}
		if o := t.lineOf(m); o != nil {
			t.shown(m.ClientID)
			if m.State == chat.Final {
				o.final = m.ID
				t.settle(o)
			}
		}
		t.noteProgress(h.tentative, m.State == chat.Final)
	case h.reader != nil:
		// Another node, or this one anew, begins with what was told before.
		if key := (readKey{t.room.ID, h.reader.ID}); h.reader.UpTo > t.read[key] && (t.read[key] > 0 || len(t.read) < maxReaders) {
			t.read[key] = h.reader.UpTo
			t.print.read(t.room, *h.reader)
		}
	case h.caughtUp:
		t.caughtUp = true
	case h.detached != nil:
		if t.attached {
			reason, _ := Words(h.detached)
			t.print.detached(reason)
		}
		t.attached = false
	}
}

// enter leaves the room of now and listens in another.
func (t *talk) enter(ctx context.Context, room chat.Room) {
	if t.leave != nil {
		if room.ID == t.room.ID {
			return
		}
		t.leave()
		<-t.left
	}
	ctx, t.leave = context.WithCancel(ctx)
	t.room, t.attached, t.caughtUp, t.awaited = room, false, false, ""
	t.stall = stall{}
	left := make(chan struct{})
	t.left = left
	cursor := t.cursors[room.ID]
	if cursor == nil {
		cursor = new(client.Cursor)
		if len(t.cursors) < maxRemembered {
			t.cursors[room.ID] = cursor
		}
	}
	t.wg.Go(func() {
		defer close(left)
		t.listen(ctx, room, cursor)
	})
}

// unfinal returns the lines of our own that are not known to be final, in the
// order they were said.
func (t *talk) unfinal() []*own {
	return slices.SortedFunc(maps.Values(t.own), func(a, b *own) int { return cmp.Compare(a.number, b.number) })
}

func quote(text string) string {
	runes := []rune(text)
	if len(runes) > maxQuotedRunes {
		runes = append(runes[:maxQuotedRunes], '…')
	}
	return string(runes)
}

// verdict returns nil, or the error that names what is not on the node's disk
// or, with UntilFinal, not final.
func (t *talk) verdict() error {
	lines := slices.Clone(t.refused)
	if t.cfg.UntilFinal {
		for _, o := range t.unfinal() {
			lines = append(lines, o.input)
		}
	} else if t.busy != nil && t.busy.command == "" {
		lines = append(lines, *t.busy)
	}
	for _, in := range t.queue {
		if in.command == "" {
			lines = append(lines, in)
		}
	}
	if len(lines) == 0 {
		return nil
	}
	var names []string
	for _, in := range lines[:min(len(lines), maxNamed)] {
		names = append(names, fmt.Sprintf("“%s” (%s)", Escape(quote(in.text)), Escape(in.clientID)))
	}
	if more := len(lines) - len(names); more > 0 {
		names = append(names, fmt.Sprintf("and %d more", more))
	}
	what := "1 message is"
	if len(lines) > 1 {
		what = fmt.Sprintf("%d messages are", len(lines))
	}
	if t.cfg.UntilFinal {
		return chat.Errorf(chat.CodeUnreachable, "%s not known to be final: %s.", what, strings.Join(names, ", ")).
			WithHint("What the node has becomes final when enough members can be reached; see: tertulia status. Sent again with the same client_id it is not repeated.")
	}
	return chat.Errorf(chat.CodeUnreachable, "%s not known to be sent: %s.", what, strings.Join(names, ", ")).
		WithHint("Send them again with the same client_id: what had arrived is not repeated.")
}

// listen keeps a stream of the room open until ctx ends.
func (t *talk) listen(ctx context.Context, room chat.Room, cursor *client.Cursor) {
	pause := minPause
	everAttached := false
	for ctx.Err() == nil {
		attached, err := t.listenOnce(ctx, room, cursor)
		if ctx.Err() != nil {
			return
		}
		if attached {
			everAttached, pause = true, minPause
		}
		h := heard{detached: err}
		if !everAttached && !temporary(err) {
			h = heard{fatal: err}
		}
		if !t.post(ctx, h) {
			return
		}
		wait(ctx, pause)
		pause = min(2*pause, maxPause)
	}
}

// listenOnce posts one stream until it breaks.
func (t *talk) listenOnce(ctx context.Context, room chat.Room, cursor *client.Cursor) (attached bool, err error) {
	// On a full disk nobody can join, but everybody can read.
	if err := t.c.JoinUser(ctx, room.ID, t.cfg.Username); err != nil && chat.CodeOf(err) != chat.CodeDisk {
		return false, err
	}
	s, err := t.c.Attach(ctx, client.Attach{Room: room.ID, Replay: t.cfg.Replay, From: t.cfg.From, Readers: t.cfg.JSON, Resume: cursor})
	if err != nil {
		return false, err
	}
	defer s.Close()
	if !t.post(ctx, heard{attached: &s.Attached, index: cursor.Index()}) {
		return true, ctx.Err()
	}
	for s.Next() {
		h := heard{caughtUp: s.CaughtUp, reader: s.Reader, known: s.Known, tentative: s.Tentative()}
		if !s.CaughtUp && s.Reader == nil {
			m := s.Message
			h.message = &m
		}
		if !t.post(ctx, h) {
			return true, ctx.Err()
		}
	}
	return true, s.Err()
}

func (t *talk) post(ctx context.Context, h heard) bool {
	select {
	case t.heard <- h:
		return true
	case <-ctx.Done():
		return false
	}
}

// handOver gives lines to the node, one at a time.
func (t *talk) handOver(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case j := <-t.work:
			r := t.do(ctx, j)
			select {
			case t.done <- r:
			case <-ctx.Done():
				return
			}
		}
	}
}

func (t *talk) do(ctx context.Context, j job) result {
	if j.command != "" {
		return t.command(ctx, j)
	}
	draft := chat.Draft{Room: j.room.ID, Username: t.cfg.Username, Text: j.text, ClientID: j.clientID}
	for pause := minPause; ; pause = min(2*pause, maxPause) {
		r := result{input: j.input, room: j.room}
		r.sent, r.err = t.c.Send(ctx, draft)
		if r.err == nil && r.sent.Duplicate && t.cfg.UntilFinal {
			r.final, r.err = t.finalOf(ctx, draft, r.sent)
		}
		if !temporary(r.err) || ctx.Err() != nil {
			return r
		}
		wait(ctx, pause)
	}
}

// finalOf returns the id of the final message that is d, "" when there is none
// yet: its final line may have come long before this conversation.
func (t *talk) finalOf(ctx context.Context, d chat.Draft, sent chat.Sent) (string, error) {
	page, err := t.c.Page(ctx, chat.PageQuery{Room: d.Room, Around: sent.ID, Limit: 3})
	if err != nil {
		if temporary(err) {
			return "", err
		}
		return "", nil // it is sent; the stream tells when it is final
	}
	for _, m := range page.Messages {
		repeat := m.ClientID == sent.ClientID && m.Text == d.Text && m.Mine
		if m.State == chat.Final && (m.ID == sent.ID || repeat) {
			return m.ID, nil
		}
	}
	return "", nil
}

func (t *talk) command(ctx context.Context, j job) result {
	r := result{input: j.input, room: j.room}
	switch j.command {
	case "/help":
		r.reply = (*Printer).replyHelp
	case "/history":
		page, err := t.c.Page(ctx, chat.PageQuery{Room: j.room.ID, Limit: historyLines})
		room := j.room
		room.Total = page.Total
		r.err, r.reply = err, func(p *Printer) { p.replyHistory(room, page.Messages) }
	case "/who":
		members, err := t.c.Members(ctx, j.room.ID)
		r.err, r.reply = err, func(p *Printer) { p.replyWho(j.room, members) }
	case "/rooms":
		rooms, err := t.c.Rooms(ctx)
		r.err, r.reply = err, func(p *Printer) { p.replyRooms(rooms) }
	case "/room":
		if j.argument == "" {
			r.err = chat.Errorf(chat.CodeInvalid, "/room needs the name of a room.").WithHint("/rooms lists them.")
			return r
		}
		room, err := t.c.Room(ctx, j.argument)
		if err == nil && room.State != chat.Joined {
			err = chat.Errorf(chat.CodeUnreachable, "The room %s is not joined yet.", room.Name).WithHint("Try again when /rooms shows it joined.")
		}
		r.err, r.enter, r.reply = err, &room, func(p *Printer) { p.replyRoom(room) }
	case "/read":
		if j.argument == "" {
			r.err = chat.Errorf(chat.CodeInvalid, "/read needs the id of a message.").WithHint("chat --json shows the ids.")
			return r
		}
		r.err = t.c.ConfirmRead(ctx, j.room.ID, t.cfg.Username, j.argument)
		r.reply = func(p *Printer) { p.replyRead(j.room, j.argument) }
	case "/confirmations":
		list, err := t.c.Confirmations(ctx, j.room.ID, t.cfg.Username, j.argument)
		r.err, r.reply = err, func(p *Printer) { p.replyConfirmations(j.room, list) }
	default:
		r.err = chat.Errorf(chat.CodeInvalid, "There is no command %s; the line was not sent.", Escape(j.command)).
			WithHint("/help lists the commands; // begins a message with a slash.")
	}
	return r
}

// temporary reports an error after which the same call may work later.
func temporary(err error) bool {
	code := chat.CodeOf(err)
	return code == chat.CodeUnreachable || code == chat.CodeBusy
}

// wait returns after d, or when ctx ends.
func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
