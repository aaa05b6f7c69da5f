package ui

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/theme"
	"fyne.io/fyne/v2/widget"

	"tertulia/chat"
	"tertulia/node/invite"
)

// nearbyEvery is how often rooms nearby are asked for while they are shown.
const nearbyEvery = 3 * time.Second

// OpenInvite offers to join by a link that came from outside the window. It
// never joins by itself.
func (w *Window) OpenInvite(link string) {
	if w.main.Visible() {
		w.askJoin(link)
		return
	}
	w.invited = link
	w.onboarding.invite.setText(link)
}

// askJoin asks for an invite, which may be filled in already, and offers the
// rooms nearby.
func (w *Window) askJoin(link string) {
	var s *sheet
	field := newInviteField(w.loop.now)
	field.setText(link)
	near := newNearbyList(3)
	about := paragraph(tr(textNoneNearby), theme.SizeNameCaptionText, colorMuted, false)
	join := func(link string) {
		if s.act.Disabled() && link == field.link {
			return
		}
		s.act.Disable()
		near.work(true)
		w.joinRoom(link, func(err error) {
			near.work(false)
			s.done(err)
		})
	}
	submit := func() { field.submit(join) }
	field.entry.OnSubmitted = func(string) { submit() }
	near.OnJoin = join
	s = newSheet(w.win, tr(textJoinRoom), tr(textCancel), tr(textJoin), column(6, near.root, about, field.root), submit)
	field.OnValid = func(valid bool) { enable(&s.act.Button, valid) }
	field.OnValid(field.link != "")
	field.OnSize = s.fit
	stop := w.watchNearby(func(rooms []chat.Nearby) {
		if near.set(rooms) {
			about.Hidden = len(rooms) > 0
			s.fit()
		}
	})
	s.OnHide = stop
	s.first = field.entry
	if field.link != "" {
		s.first = s.act
	}
	s.show()
}

// watchNearby tells show of the rooms on the same network that this node is not
// in, at once and then every nearbyEvery until stop is called.
func (w *Window) watchNearby(show func([]chat.Nearby)) (stop func()) {
	over := make(chan struct{})
	w.loop.act(func(ctx context.Context) error {
		ticker := time.NewTicker(w.loop.nearbyEvery)
		defer ticker.Stop()
		for {
			rooms, err := w.loop.node.Nearby(ctx)
			if err != nil {
				return err
			}
			w.loop.post(func() { show(w.notIn(rooms)) })
			select {
			case <-ctx.Done():
				return nil
			case <-over:
				return nil
			case <-ticker.C:
			}
		}
	}, func(err error) {
		if err != nil {
			slog.Warn("rooms nearby are not known", "error", err)
		}
	})
	return sync.OnceFunc(func() { close(over) })
}

// notIn leaves out the rooms that the list has already.
func (w *Window) notIn(rooms []chat.Nearby) []chat.Nearby {
	return slices.DeleteFunc(slices.Clone(rooms[:min(len(rooms), chat.MaxNearby)]), func(n chat.Nearby) bool {
		return slices.ContainsFunc(w.shown.view.Rooms, func(r chat.Room) bool { return r.ID == n.RoomID && r.State != chat.Failed })
	})
}

// inviteField is where an invite is pasted. It says what the invite is for, or
// what is wrong with it, while it is typed.
type inviteField struct {
	OnValid func(valid bool) // called with every change; may be nil
	OnSize  func()           // called when what it says may want another height; may be nil

	root  fyne.CanvasObject
	entry *entry
	said  *widget.RichText
	link  string // what was typed, once it is a valid invite; else ""
	now   func() time.Time
}

func newInviteField(now func() time.Time) *inviteField {
	f := &inviteField{entry: newEntry(tr(textInviteHint)), now: now}
	f.said = paragraph(" ", theme.SizeNameCaptionText, colorMuted, false)
	f.entry.OnChanged = f.check
	f.root = column(-4, field(tr(textInviteLink), f.entry), f.said)
	return f
}

func (f *inviteField) setText(link string) { f.entry.SetText(strings.TrimSpace(link)) }

func (f *inviteField) check(text string) {
	words, ink := f.read(strings.TrimSpace(text))
	style := &f.said.Segments[0].(*widget.TextSegment).Style
	style.ColorName = ink
	setParagraph(f.said, words)
	if f.OnValid != nil {
		f.OnValid(f.link != "")
	}
	if f.OnSize != nil {
		f.OnSize()
	}
}

// read sets link, and says what of it is told and in which colour.
func (f *inviteField) read(text string) (words string, ink fyne.ThemeColorName) {
	f.link = ""
	if text == "" {
		return " ", colorMuted
	}
	link, err := invite.Parse(text, f.now())
	room := visibleLine(string([]rune(link.Name)[:min(utf8.RuneCountInString(link.Name), chat.MaxNameRunes)]))
	switch {
	case err == nil && link.Expires.IsZero():
		f.link = text
		return tr(textInviteGood, args{"Room": room}), colorMuted
	case err == nil:
		f.link = text
		return tr(textInviteUntil, args{"Room": room, "When": textOfTime(link.Expires, f.now())}), colorMuted
	case !link.Expires.IsZero():
		return tr(textInviteOver, args{"Room": room, "When": textOfTime(link.Expires, f.now())}), theme.ColorNameError
	}
	return tr(textInviteWrong), theme.ColorNameError
}

// submit hands a valid invite over; of another it has said already what is wrong.
func (f *inviteField) submit(use func(link string)) {
	if f.link != "" {
		use(f.link)
	}
}

// nearbyList offers rooms on the same network; it is gone while there are none.
type nearbyList struct {
	OnJoin func(invite string)

	root    *fyne.Container
	list    *fyne.Container
	box     *tall
	rooms   []chat.Nearby
	buttons []*button
	most    int // rooms in sight at once
	busy    bool
}

func newNearbyList(most int) *nearbyList {
	l := &nearbyList{list: column(4), box: &tall{}, most: most}
	title := paragraph(tr(textNearby), theme.SizeNameCaptionText, theme.ColorNameForeground, true)
	l.root = column(-2, title, container.New(l.box, container.NewVScroll(padded(0, 0, 8, 0, l.list))))
	l.root.Hide()
	return l
}

// set tells whether anything changed.
func (l *nearbyList) set(rooms []chat.Nearby) bool {
	if slices.Equal(l.rooms, rooms) {
		return false
	}
	l.rooms, l.buttons = rooms, nil
	l.list.RemoveAll()
	height, scrollBar := float32(6), float32(0)
	if len(rooms) > l.most {
		scrollBar = 12
	}
	for i, r := range rooms {
		join := newButton(tr(textJoin), nil, func() { l.OnJoin(r.Invite) })
		l.buttons = append(l.buttons, join)
		row := container.NewBorder(nil, nil, nil, padded(0, 0, 8, scrollBar, container.NewCenter(join)),
			newCard(cardWords{who: r.RoomID, title: visibleLine(r.Room), below: tr(textOfferedBy, args{"Name": visibleLine(r.Node)})}))
		l.list.Add(row)
		if i < l.most {
			height += row.MinSize().Height + 4
		}
	}
	l.work(l.busy)
	l.box.height = height
	l.root.Hidden = len(rooms) == 0
	l.root.Refresh()
	return true
}

// work disables the list while an answer is awaited.
func (l *nearbyList) work(busy bool) {
	l.busy = busy
	for _, b := range l.buttons {
		enable(&b.Button, !busy)
	}
}
