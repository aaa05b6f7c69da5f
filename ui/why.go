package ui

import (
	"cmp"
	"strconv"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/theme"

	"tertulia/chat"
)

// fact is a line of a sheet that tells what is known of something.
type fact struct{ label, value string }

// showWhy tells of a message why it stands where it does.
func (w *Window) showWhy(m *chat.Message) {
	room, _ := w.shown.openRoom()
	w.showFacts(tr(textWhy), whyWords(m, room.Order), whyFacts(m))
}

// whyWords says it in words.
func whyWords(m *chat.Message, order chat.Order) string {
	if m.State != chat.Final {
		if order == chat.Leader {
			return tr(textWhyElected)
		}
		return tr(textWhyTentative)
	}
	words := tr(textWhyFinal, args{"Index": count(m.Index)}) + " "
	if m.Leader != "" {
		words += tr(textWhyLed, args{"Leader": visibleLine(m.Leader)})
	} else {
		words += tr(textWhyOwn)
	}
	if m.Late {
		words += " " + tr(textWhyLate)
	}
	return words
}

// whyFacts says it in figures.
func whyFacts(m *chat.Message) []fact {
	state := tr(textWhyIsTail)
	if m.State == chat.Final {
		state = tr(textWhyIsFinal)
		if m.Late {
			state += ", " + tr(textLate)
		}
	}
	facts := []fact{
		{tr(textWhyAuthor), visibleLine(m.Sender)},
		{tr(textWhyKey), visibleLine(m.SenderID)},
		{tr(textWhyOrigin), visibleLine(m.Origin)},
		{tr(textWhyWritten), m.Time.Local().Format("2006-01-02 15:04:05.000 -07:00")},
		{tr(textWhyArrived), tr(textWhyArrival, args{"Number": count(m.Arrival)})},
		{tr(textWhyClock), count(m.Lamport)},
		{tr(textWhyState), state},
	}
	if m.State == chat.Final {
		facts = append(facts, fact{tr(textWhyPosition), count(m.Index)}, fact{tr(textWhyEpoch), strconv.FormatUint(m.Epoch, 10)})
		if m.Leader != "" {
			facts = append(facts, fact{tr(textWhyLeader), visibleLine(m.Leader)})
		}
		facts = append(facts, fact{tr(textWhyHash), m.Hash})
	}
	facts = append(facts, fact{tr(textMessage), visibleLine(m.ID)})
	if m.ReplyTo != "" {
		facts = append(facts, fact{tr(textWhyAnswers), visibleLine(m.ReplyTo)})
	}
	return facts
}

func (w *Window) showFacts(title, words string, facts []fact) {
	list := column(-10)
	for _, f := range facts {
		label := container.New(fixedWidth(sizeLabel), paragraph(f.label, theme.SizeNameCaptionText, colorMuted, false))
		value := paragraph(cmp.Or(f.value, "–"), theme.SizeNameCaptionText, theme.ColorNameForeground, false)
		value.Wrapping = fyne.TextWrapBreak
		list.Add(container.NewBorder(nil, nil, label, nil, value))
	}
	scroll := container.NewVScroll(list)
	scroll.SetMinSize(fyne.NewSize(sizeForm, min(list.MinSize().Height+40, 380)))
	body := column(4, paragraph(words, theme.SizeNameText, theme.ColorNameForeground, false), scroll)
	newSheet(w.win, title, tr(textClose), "", body, nil).show()
}
