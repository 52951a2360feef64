package torture

// Cells that are not run against CallMiner, each with the reason.
func cellsNotRun() []cell {
	return []cell{
		{n: 60, what: "reconciling: Kill during the status query", why: "CallMiner cannot be asked: a doubt is resolved by a second upload under the same id"},
		{n: 61, what: "reconciling: list shows the item only after 5 min", why: "CallMiner has no list"},
		{n: 62, what: "reconciling: pages shift while paging", why: "CallMiner has no list"},
		{n: 63, what: "reconciling: status answers 404/500 for hours", why: "CallMiner has no status query"},
		{n: 64, what: "reconciling: two matches", why: "CallMiner has no list"},
		{n: 87, what: "presigned host resolves to a private address", why: "CallMiner gives no presigned URLs: every request goes to a configured host"},
		{n: 89, what: "vendor says duplicate for an id we never sent", why: "CallMiner refuses a used id late and silently: no answer says duplicate"},
	}
}
