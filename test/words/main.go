// Command words counts what can be counted of how the pages are written, and shows the worst places
// of each kind:
//
//	go run ./test/words                 all pages
//	go run ./test/words docs/*/*.md     some
package main

import (
	"cmp"
	"fmt"
	"log"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
)

// What a page is measured by. The numbers hold nothing back: they show where to look.
const (
	wordsPerSentence = 25
	columnsOfTable   = 4
	wordsPerCell     = 15
	worst            = 10 // places that are shown of each kind
)

var (
	linkText      = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)
	pageComment   = regexp.MustCompile(`(?s)<!--.*?-->`)
	codeSpan      = regexp.MustCompile("`[^`\n]*`")
	codeBlock     = regexp.MustCompile("(?ms)^ *```.*?^ *```$") // in an item of a list, too
	endOfSentence = regexp.MustCompile(`[.!?][)*_"]*\s+`)
	oneWord       = regexp.MustCompile(`[\p{L}\p{N}][\p{L}\p{N}'’_.@/-]*`)
	youWord       = regexp.MustCompile(`(?i)\b(you|your|yours|yourself)\b`)
	negation      = regexp.MustCompile(`(?i)\b(no|not|none|nothing|nobody|never|neither|nor|cannot|without|\w+n't)\b`)
	listItem      = regexp.MustCompile(`^\s*([-*]|\d+\.)\s+`)
	ruleOfTable   = regexp.MustCompile(`^[\s|:-]+$`)
)

// A finding is a place of a page, and how bad it is.
type finding struct {
	size  int
	place string
}

// prose has the measures of one page, or of all.
type prose struct {
	sentences, count, you, negations, long, chained, tables, wide, cells, fat int
	longest, heavy, broad                                                     []finding
}

func main() {
	found := os.Args[1:]
	if len(found) == 0 {
		out, err := exec.Command("git", "ls-files", "*.md").Output()
		if err != nil {
			log.Fatal(err)
		}
		found = strings.Fields(string(out))
	}
	var all prose
	var silent []string
	var denying []finding
	for _, page := range found {
		text, err := os.ReadFile(page)
		if err != nil {
			log.Fatal(err)
		}
		w := measure(page, string(text))
		all.add(w)
		if w.count == 0 {
			continue
		}
		if w.you == 0 {
			silent = append(silent, page)
		}
		per := 1000 * w.negations / w.count
		denying = append(denying, finding{per, fmt.Sprintf("%s: %d negations in 1,000 words", page, per)})
	}
	count, sentences := float64(all.count), float64(all.sentences)
	fmt.Printf("%d pages, %d words, %d sentences of %.1f words\n", len(denying), all.count, all.sentences, count/sentences)
	fmt.Printf("%d sentences of more than %d words, %d with two colons or a semicolon\n", all.long, wordsPerSentence, all.chained)
	fmt.Printf("%.1f negations in 1,000 words; %d pages never say you: %s\n", 1000*float64(all.negations)/count, len(silent),
		strings.Join(silent, " "))
	fmt.Printf("%d tables, %d of more than %d columns; %d cells, %d of more than %d words\n", all.tables, all.wide, columnsOfTable,
		all.cells, all.fat, wordsPerCell)
	show("negations", denying)
	show("the longest sentences", all.longest)
	show("the fullest cells", all.heavy)
	show("the widest tables", all.broad)
}

func show(title string, found []finding) {
	slices.SortStableFunc(found, func(a, b finding) int { return cmp.Compare(b.size, a.size) })
	fmt.Printf("== %s\n", title)
	for _, f := range found[:min(worst, len(found))] {
		fmt.Println(f.place)
	}
}

func (w *prose) add(v prose) {
	for _, f := range []struct {
		sum *int
		n   int
	}{
		{&w.sentences, v.sentences}, {&w.count, v.count}, {&w.you, v.you}, {&w.negations, v.negations}, {&w.long, v.long},
		{&w.chained, v.chained}, {&w.tables, v.tables}, {&w.wide, v.wide}, {&w.cells, v.cells}, {&w.fat, v.fat},
	} {
		*f.sum += f.n
	}
	w.longest, w.heavy, w.broad = append(w.longest, v.longest...), append(w.heavy, v.heavy...), append(w.broad, v.broad...)
}

// measure counts the words of a page, but for its code. What stands between back-quotes is a word.
func measure(page, text string) (w prose) {
	blank := func(s string) string { return strings.Repeat("\n", strings.Count(s, "\n")) } // the numbers of the lines stay
	text = codeBlock.ReplaceAllStringFunc(text, blank)
	text = pageComment.ReplaceAllStringFunc(text, blank)
	text = codeSpan.ReplaceAllString(linkText.ReplaceAllString(text, "$1"), "code")
	var paragraph []string
	began, inTable := 0, false
	end := func() {
		w.paragraph(page, began, strings.Join(paragraph, " "))
		paragraph = nil
	}
	for i, line := range strings.Split(text, "\n") {
		row := strings.HasPrefix(strings.TrimSpace(line), "|")
		if row && !inTable {
			w.tables++
			head := strings.Trim(strings.TrimSpace(strings.ReplaceAll(line, `\|`, "")), "|")
			if columns := strings.Count(head, "|") + 1; columns > columnsOfTable {
				w.wide++
				w.broad = append(w.broad, finding{columns, fmt.Sprintf("%s:%d: %d columns", page, i+1, columns)})
			}
		}
		inTable = row
		switch {
		case row:
			end()
			if !ruleOfTable.MatchString(line) {
				w.row(page, i+1, line)
			}
			continue
		case strings.TrimSpace(line) == "", strings.HasPrefix(line, "#"):
			end()
			continue
		case listItem.MatchString(line):
			end()
			line = listItem.ReplaceAllString(line, "")
		}
		if paragraph == nil {
			began = i + 1
		}
		paragraph = append(paragraph, strings.TrimSpace(line))
	}
	end()
	return w
}

// paragraph counts the sentences of a paragraph, or of an item of a list.
func (w *prose) paragraph(page string, line int, text string) {
	for _, s := range endOfSentence.Split(text+" ", -1) {
		n := len(oneWord.FindAllString(s, -1))
		if n == 0 {
			continue
		}
		w.sentences++
		w.say(s, n)
		if strings.Contains(s, "; ") || strings.Count(s, ": ") > 1 {
			w.chained++
		}
		if n > wordsPerSentence {
			w.long++
			w.longest = append(w.longest, finding{n, fmt.Sprintf("%s:%d: %d words: %s", page, line, n, s)})
		}
	}
}

func (w *prose) row(page string, line int, text string) {
	for cell := range strings.SplitSeq(strings.ReplaceAll(text, `\|`, " "), "|") {
		n := len(oneWord.FindAllString(cell, -1))
		if n == 0 {
			continue
		}
		w.cells++
		w.say(cell, n)
		if n > wordsPerCell {
			w.fat++
			w.heavy = append(w.heavy, finding{n, fmt.Sprintf("%s:%d: %d words: %s", page, line, n, strings.TrimSpace(cell))})
		}
	}
}

func (w *prose) say(text string, n int) {
	w.count += n
	w.you += len(youWord.FindAllString(text, -1))
	w.negations += len(negation.FindAllString(text, -1))
}
