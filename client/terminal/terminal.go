// Package terminal is the conversation of `tertulia chat`: lines in, a room's
// messages out, in words for people or as JSON lines for programs.
//
// One goroutine, in Run, owns all state and writes all output. Three others
// post to it: the reader of stdin, the listener of the room, and the worker
// that hands lines to the node one after the other, so that they keep their
// order. While the node does not answer, lines wait, and everybody redials.
package terminal

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"tertulia/chat"
	"tertulia/client"
)

// Limits of a conversation.
const (
	maxQueue       = 1000                   // lines that wait for the node; then stdin is not read further
	maxRemembered  = 1000                   // sent messages whose replacement would be told; rooms whose place is kept
	maxNamed       = 10                     // unsent lines that the last error quotes
	maxQuotedRunes = 40                     // of each
	historyLines   = 50                     // messages that /history shows
	minPause       = 50 * time.Millisecond  // before trying again; doubles
	maxPause       = 2 * time.Second        // longest such pause
	showWait       = 1 * time.Second        // at the end, for the last message to be shown after it was sent
	roomPoll       = 500 * time.Millisecond // between looks at a room that is being joined
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
}

// Run talks until In ends and every line of it is sent, or ctx ends. It
// returns nil when nothing is left unsent, else a chat.Error that names it.
func Run(ctx context.Context, c *client.Client, cfg Config) error {
	room, err := awaitRoom(ctx, c, cfg.Room, cfg.Wait)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	t := &talk{
		c:        c,
		cfg:      cfg,
		print:    Printer{Out: cfg.Out, JSON: cfg.JSON, Colour: cfg.Colour, Width: cfg.Width},
		lines:    make(chan input),
		work:     make(chan job),
		done:     make(chan result),
		heard:    make(chan heard),
		cursors:  make(map[place]client.Cursor),
		remember: make(map[string]string),
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
	print Printer
	wg    sync.WaitGroup

	lines chan input  // from the reader of In
	work  chan job    // to the worker
	done  chan result // from the worker
	heard chan heard  // from the listener

	room     chat.Room
	leave    context.CancelFunc // ends the listener
	left     chan struct{}      // closed when it has ended
	attached bool
	caughtUp bool
	cursors  map[place]client.Cursor

	queue    []input
	busy     *input // what the worker has
	refused  []input
	awaited  string            // client id of the newest line handed over, until it is shown
	remember map[string]string // client id -> id that `sent` named
	order    []string          // of remember, oldest first
}

// place is a room on a node: what a cursor counts in.
type place struct{ peerID, roomID string }

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
	reply func(*Printer)
	room  *chat.Room // the room to go to
}

// heard is what the listener tells: one of its fields.
type heard struct {
	attached *client.Attached
	message  *chat.Message
	caughtUp bool
	detached error
	fatal    error // never attached, and trying again will not help

	at     place
	cursor client.Cursor
}

func (t *talk) run(ctx context.Context) error {
	var ended bool
	var limit, shown <-chan time.Time
	for {
		var lines <-chan input
		if !ended && len(t.queue) < maxQueue {
			lines = t.lines
		}
		var work chan<- job
		var next job
		if t.ready() {
			work, next = t.work, job{t.queue[0], t.room}
		}
		select {
		case <-ctx.Done():
			return t.unsent()
		case <-limit:
			return t.unsent()
		case <-shown:
			return t.unsent()
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
		}
		if t.print.Err != nil {
			return &chat.Error{Code: chat.CodeInternal, Message: "The output is closed.", Err: t.print.Err}
		}
		if ended && !t.cfg.Follow && t.busy == nil && len(t.queue) == 0 {
			if t.caughtUp && t.awaited == "" {
				return t.unsent()
			}
			if t.caughtUp && shown == nil {
				shown = time.After(showWait)
			}
		}
	}
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
			t.shown(r.clientID)
		}
	case r.command == "":
		t.print.sent(r.sent)
		if r.sent.Duplicate {
			t.shown(r.clientID)
		}
		t.rememberSent(r.sent)
	default:
		r.reply(&t.print)
		if r.room != nil {
			t.enter(ctx, *r.room)
		}
	}
}

func (t *talk) shown(clientID string) {
	if t.awaited == clientID {
		t.awaited = ""
	}
}

func (t *talk) rememberSent(s chat.Sent) {
	if _, ok := t.remember[s.ClientID]; !ok {
		t.order = append(t.order, s.ClientID)
	}
	t.remember[s.ClientID] = s.ID
	if len(t.order) > maxRemembered {
		delete(t.remember, t.order[0])
		t.order = t.order[1:]
	}
}

func (t *talk) hear(h heard) {
	switch {
	case h.attached != nil:
		t.attached = true
		t.print.attached(*h.attached)
	case h.message != nil:
		t.keep(h)
		m := *h.message
		t.print.Message(m)
		if !m.Mine || m.ClientID == "" {
			return
		}
		if id, ok := t.remember[m.ClientID]; ok && id != m.ID && m.Sender == t.cfg.Username {
			t.print.replaced(id, m.ID, m.ClientID)
			delete(t.remember, m.ClientID)
		}
		t.shown(m.ClientID)
	case h.caughtUp:
		t.keep(h)
		t.caughtUp = true
	case h.detached != nil:
		if t.attached {
			reason, _ := Words(h.detached)
			t.print.detached(reason)
		}
		t.attached = false
	}
}

// keep notes how far the room was read, so that coming back repeats nothing.
func (t *talk) keep(h heard) {
	if _, ok := t.cursors[h.at]; ok || len(t.cursors) < maxRemembered {
		t.cursors[h.at] = h.cursor
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
	left := make(chan struct{})
	t.left = left
	known := make(map[string]client.Cursor) // by peer id
	for at, cursor := range t.cursors {
		if at.roomID == room.ID {
			known[at.peerID] = cursor
		}
	}
	t.wg.Go(func() {
		defer close(left)
		t.listen(ctx, room, known)
	})
}

// unsent returns nil, or the error that names what is not on the node's disk.
func (t *talk) unsent() error {
	lines := t.refused
	if t.busy != nil && t.busy.command == "" {
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
		quoted := []rune(in.text)
		if len(quoted) > maxQuotedRunes {
			quoted = append(quoted[:maxQuotedRunes], '…')
		}
		names = append(names, fmt.Sprintf("“%s” (%s)", Escape(string(quoted)), Escape(in.clientID)))
	}
	if more := len(lines) - len(names); more > 0 {
		names = append(names, fmt.Sprintf("and %d more", more))
	}
	what := "1 message is"
	if len(lines) > 1 {
		what = fmt.Sprintf("%d messages are", len(lines))
	}
	return chat.Errorf(chat.CodeUnreachable, "%s not known to be sent: %s.", what, strings.Join(names, ", ")).
		WithHint("Send them again with the same client_id: what had arrived is not repeated.")
}

// listen keeps a stream of the room open until ctx ends.
func (t *talk) listen(ctx context.Context, room chat.Room, known map[string]client.Cursor) {
	pause := minPause
	everAttached := false
	for ctx.Err() == nil {
		attached, err := t.listenOnce(ctx, room, known)
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
func (t *talk) listenOnce(ctx context.Context, room chat.Room, known map[string]client.Cursor) (attached bool, err error) {
	// On a full disk nobody can join, but everybody can read.
	if err := t.c.JoinUser(ctx, room.ID, t.cfg.Username); err != nil && chat.CodeOf(err) != chat.CodeDisk {
		return false, err
	}
	view, err := t.c.View(ctx)
	if err != nil {
		return false, err
	}
	attach := client.Attach{Room: room.ID, Replay: t.cfg.Replay, From: t.cfg.From}
	if cursor, ok := known[view.PeerID]; ok {
		attach.Resume = &cursor
	}
	s, err := t.c.Attach(ctx, attach)
	if err != nil {
		return false, err
	}
	defer s.Close()
	at := place{s.Attached.PeerID, s.Attached.RoomID}
	if !t.post(ctx, heard{attached: &s.Attached}) {
		return true, ctx.Err()
	}
	for s.Next() {
		h := heard{caughtUp: s.CaughtUp, at: at, cursor: s.Cursor}
		if !s.CaughtUp {
			m := s.Message
			h.message = &m
		}
		if !t.post(ctx, h) {
			return true, ctx.Err()
		}
		known[at.peerID] = s.Cursor
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
		sent, err := t.c.Send(ctx, draft)
		if !temporary(err) || ctx.Err() != nil {
			return result{input: j.input, sent: sent, err: err}
		}
		wait(ctx, pause)
	}
}

func (t *talk) command(ctx context.Context, j job) result {
	r := result{input: j.input}
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
		r.err, r.room, r.reply = err, &room, func(p *Printer) { p.replyRoom(room) }
	case "/confirmations", "/read":
		r.err = chat.Errorf(chat.CodeLater, "%s comes with a later version.", j.command)
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
