package ui

import (
	"cmp"
	"context"
	"strconv"
	"strings"
	"time"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/theme"

	"tertulia/chat"
)

// fact is a line of a sheet that tells what is known of something; the zero
// fact parts groups of them.
type fact struct {
	label, value string
	jump         string // ID of the message that a click on the value goes to, "" = none
}

// showWhy tells of a message why it stands where it does.
func (w *Window) showWhy(m *chat.Message) {
	room, _ := w.shown.openRoom()
	var info chat.Info
	w.loop.act(func(ctx context.Context) (err error) {
		info, err = w.loop.node.Info(ctx, room.ID, m.ID)
		return err
	}, func(err error) {
		if err != nil {
			w.notice.fail(err)
			return
		}
		w.showFacts(tr(textWhy), whyWords(&info, room.Order), whyFacts(&info))
	})
}

// whyWords says it in words.
func whyWords(info *chat.Info, order chat.Order) string {
	m := &info.Message
	var said []string
	say := func(text string) { said = append(said, text) }
	switch m.State {
	case chat.Final:
		say(tr(textWhyFinal, args{"Index": count(m.Index)}))
		if m.Leader != "" {
			say(tr(textWhyLed, args{"Leader": visibleLine(m.Leader)}))
		} else {
			say(tr(textWhyOwn))
		}
		if m.Late {
			say(tr(textWhyLate))
		}
	case chat.Tentative:
		if order == chat.Leader {
			say(tr(textWhyElected))
		} else {
			say(tr(textWhyTentative))
		}
	}
	if n := len(info.Missing); n > 0 {
		say(plural(pluralWhyMissing, pluralWhyMissingFallback, n, args{"Names": textOfNames(info.Missing)}))
	}
	return strings.Join(said, " ")
}

// whyFacts says it in figures.
func whyFacts(info *chat.Info) []fact {
	m := &info.Message
	var facts []fact
	add := func(label, value string) { facts = append(facts, fact{label: tr(label), value: visibleLine(value)}) }
	gap := func() {
		if facts[len(facts)-1] != (fact{}) {
			facts = append(facts, fact{})
		}
	}
	list := func(label string, values []fact) {
		for i, v := range values {
			if i == 0 {
				v.label = tr(label)
			}
			facts = append(facts, v)
		}
	}

	add(textWhyAuthor, m.Sender)
	add(textWhyKey, m.SenderID)
	add(textWhyOrigin, cmp.Or(info.Author.Name, m.Origin))
	add(textWhyFingerprint, info.Author.Fingerprint)
	signature := textWhyUnsigned
	if info.Verified {
		signature = textWhySigned
	}
	add(textWhySignature, tr(signature))
	gap()

	if m.State == chat.Final {
		add(textWhyState, tr(textWhyIsFinal))
		add(textWhyPosition, count(m.Index))
		late := textWhyInTime
		if m.Late {
			late = textWhyIsLate
		}
		add(textWhyLateness, tr(late))
	} else {
		add(textWhyState, tr(textWhyIsTail))
	}
	add(textWhyClock, count(m.Lamport))
	if info.Seq > 0 {
		add(textWhySeq, tr(textWhySeqOf, args{"Number": count(info.Seq), "Node": visibleLine(cmp.Or(info.Author.Name, m.Origin))}))
	}
	if m.State == chat.Final {
		add(textWhyEpoch, strconv.FormatUint(m.Epoch, 10))
	}
	if m.Leader != "" {
		add(textWhyLeader, m.Leader)
	}
	if info.Term > 0 {
		add(textWhyTerm, strconv.FormatUint(info.Term, 10))
	}
	gap()

	add(textWhyWritten, textOfInstant(m.Time))
	arrived := tr(textWhyArrival, args{"Number": count(m.Arrival)})
	if !info.Arrived.IsZero() {
		arrived = textOfInstant(info.Arrived) + ", " + arrived
	}
	add(textWhyArrived, arrived)
	gap()

	if m.ReplyTo != "" {
		facts = append(facts, fact{tr(textWhyAnswers), visibleLine(m.ReplyTo), m.ReplyTo})
	}
	list(textWhyParents, parentFacts(info.Parents))
	gap()

	held := strings.Join(info.Holders, ", ")
	if n := len(info.Holders); n > 0 {
		all := args{"Some": count(uint64(n)), "All": count(uint64(n + len(info.Missing)))}
		held = tr(textSomeOfAll, all) + ": " + held
	}
	add(textWhyHolders, held)
	if len(info.Missing) > 0 {
		add(textWhyMissing, strings.Join(info.Missing, ", "))
	}
	add(textWhyReaders, cmp.Or(namesOf(info.Readers), tr(textWhyUnread)))
	gap()

	if m.Hash != "" {
		add(textWhyHash, m.Hash)
	}
	add(textMessage, m.ID)
	return facts
}

// parentFacts are what a message's author had seen last: a click goes to those
// that are messages.
func parentFacts(parents []chat.Parent) []fact {
	const parentBytes = 80
	facts := make([]fact, len(parents))
	for i, p := range parents {
		facts[i].value = strings.TrimPrefix(visibleLine(p.Name+", "+p.ID), ", ")
		if p.Text != "" {
			facts[i] = fact{value: visibleLine(p.Name) + ": " + visibleLine(cut(p.Text, parentBytes)), jump: p.ID}
		}
	}
	return facts
}

func namesOf(persons []chat.Person) string {
	names := make([]string, len(persons))
	for i, p := range persons {
		names[i] = p.Name
	}
	return strings.Join(names, ", ")
}

func textOfInstant(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05.000 -07:00") }

// factsText is words and facts as text, to be sent to somebody.
func factsText(words string, facts []fact) string {
	var b strings.Builder
	b.WriteString(words)
	b.WriteString("\n\n")
	for _, f := range facts {
		switch {
		case f == fact{}:
		case f.label == "":
			b.WriteString("  " + f.value)
		default:
			b.WriteString(f.label + ": " + f.value)
		}
		b.WriteString("\n")
	}
	return b.String()
}

// showFacts shows words and facts, which can be copied as text.
func (w *Window) showFacts(title, words string, facts []fact) {
	const around = 190 // pixels that a sheet has above and below its body
	var s *sheet
	body := newBoard(func(k *sketch) {
		drawFacts(k, words, facts, func(id string) {
			s.hide()
			w.goTo(id)
		})
	})
	scroll := container.NewVScroll(body)
	high := body.sketch(sizeForm).y
	scroll.SetMinSize(fyne.NewSize(sizeForm, min(high, max(w.win.Canvas().Size().Height-around, 160))))
	s = newSheet(w.win, title, tr(textClose), tr(textCopy), padded(0, 0, 9, 0, scroll), func() {
		w.app.Clipboard().SetContent(factsText(words, facts))
		s.act.SetText(tr(textCopied))
	})
	s.show()
}

// drawFacts draws words and, below, the facts; jump is called with the message
// that is clicked.
func drawFacts(s *sketch, words string, facts []fact, jump func(id string)) {
	const gap, right = 6, 14
	width := s.width - right
	s.prose(words, ink{size: textSizeBody, color: theme.ColorNameForeground}, 0, width)
	s.y += 14
	below := s.y // of the last label
	for _, f := range facts {
		if f.label != "" || f == (fact{}) {
			s.y = max(s.y, below)
		}
		if f == (fact{}) {
			s.y += gap
			continue
		}
		label := s.proseAt(f.label, ink{size: textSizeSmall, color: colorMuted}, 0, s.y, sizeLabel-10)
		value := ink{size: textSizeSmall, color: theme.ColorNameForeground}
		if f.jump != "" {
			value.color = theme.ColorNameHyperlink
		}
		var inner sketch
		high := inner.proseAt(cmp.Or(f.value, "–"), value, 0, 0, width-sizeLabel)
		if f.jump == "" {
			for _, o := range inner.objects {
				o.Move(o.Position().AddXY(sizeLabel, s.y))
				s.objects = append(s.objects, o)
			}
		} else {
			link := &tappable{OnTap: func() { jump(f.jump) }}
			link.place = func(fyne.Size) []fyne.CanvasObject { return inner.objects }
			link.ExtendBaseWidget(link)
			s.add(link, sizeLabel, s.y, width-sizeLabel, high)
		}
		if f.label != "" {
			below = s.y + label + gap
		}
		s.y += high + gap
	}
	s.y = max(s.y, below)
}
