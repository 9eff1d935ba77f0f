// What a shop does, by the Shop API and the Admin API of a Vendure. A request that is refused ends the script with an error.
//
//   shop.js fill URL ORDERS   places orders and prints the session token of an administrator
//   shop.js edit URL TOKEN    edits, cancels and ships some of them
//   shop.js list URL TOKEN    prints the rows of all placed orders: order|sku|status|currency|quantity|unit price|line total
//   shop.js write URL TOKEN   places, edits and cancels orders until its stdin ends
const [command, url, argument] = process.argv.slice(2);

// A session of one of the two APIs.
class Session {
  constructor(path, token) {
    this.path = path;
    this.token = token;
  }

  // The first field of the answer.
  async ask(query, variables) {
    const headers = { "content-type": "application/json", ...(this.token && { authorization: `Bearer ${this.token}` }) };
    const answer = await fetch(url + this.path, { method: "POST", headers, body: JSON.stringify({ query, variables }) });
    this.token = answer.headers.get("vendure-auth-token") ?? this.token;
    const { data, errors } = await answer.json();
    const [field] = Object.values(data ?? {});
    if (errors || field?.errorCode) throw new Error(`${query}: ${JSON.stringify(errors ?? field)}`);
    return field;
  }
}

const REFUSED = "__typename ... on ErrorResult { errorCode message }";
const ORDER = "id state payments { id } lines { id quantity }";
let admin;

async function addItem(shop, variant, quantity) {
  const add = `mutation($v: ID!, $q: Int!) { addItemToOrder(productVariantId: $v, quantity: $q) { ${REFUSED} } }`;
  await shop.ask(add, { v: variant, q: quantity });
}

// One or two skus, every third order with a discount.
async function fillCart(number) {
  const shop = new Session("/shop-api");
  await addItem(shop, 1 + (number % 3), 1 + (number % 4));
  if (number % 2 === 0) await addItem(shop, 1 + ((number + 1) % 3), 3);
  if (number % 3 === 0) await shop.ask(`mutation { applyCouponCode(couponCode: "THIRTEEN") { ${REFUSED} } }`);
  return shop;
}

async function place(number) {
  const shop = await fillCart(number);
  const customer = { emailAddress: `ann${number % 5}@example.test`, firstName: "Ann", lastName: "A" };
  await shop.ask(`mutation($c: CreateCustomerInput!) { setCustomerForOrder(input: $c) { ${REFUSED} } }`, { c: customer });
  const address = { streetLine1: "1 Main", city: "X", postalCode: "1", countryCode: "DE" };
  await shop.ask(`mutation($a: CreateAddressInput!) { setOrderShippingAddress(input: $a) { ${REFUSED} } }`, { a: address });
  const [method] = await shop.ask("{ eligibleShippingMethods { id } }");
  await shop.ask(`mutation($m: [ID!]!) { setOrderShippingMethod(shippingMethodId: $m) { ${REFUSED} } }`, { m: [method.id] });
  await shop.ask(`mutation { transitionOrderToState(state: "ArrangingPayment") { ${REFUSED} } }`);
  const [payment] = await shop.ask("{ eligiblePaymentMethods { code } }");
  const pay = `mutation($p: PaymentInput!) { addPaymentToOrder(input: $p) { ... on Order { id } ${REFUSED} } }`;
  return (await shop.ask(pay, { p: { method: payment.code, metadata: {} } })).id;
}

const read = (id) => admin.ask(`query($i: ID!) { order(id: $i) { ${ORDER} } }`, { i: id });

const transition = (id, state) =>
  admin.ask(`mutation($i: ID!, $s: String!) { transitionOrderToState(id: $i, state: $s) { ${REFUSED} } }`, { i: id, s: state });

// Sets the quantities of lines and adds items. The order is then settled again, or waits for more money.
async function modify(order, adjustOrderLines, addItems = []) {
  await transition(order.id, "Modifying");
  const refunds = [{ paymentId: order.payments[0].id, reason: "edit", amount: 0 }];
  const input = { dryRun: false, orderId: order.id, adjustOrderLines, addItems, refunds };
  await admin.ask(`mutation($m: ModifyOrderInput!) { modifyOrder(input: $m) { ${REFUSED} } }`, { m: input });
  // Which of the two is allowed depends on what was paid.
  await transition(order.id, "PaymentSettled").catch(() => transition(order.id, "ArrangingAdditionalPayment"));
}

const cancel = (id, lines) =>
  admin.ask(`mutation($c: CancelOrderInput!) { cancelOrder(input: $c) { ${REFUSED} } }`, { c: { orderId: id, lines, reason: "test" } });

async function ship(order) {
  const lines = order.lines.map((line) => ({ orderLineId: line.id, quantity: line.quantity }));
  const handler = { code: "manual-fulfillment", arguments: [{ name: "method", value: "post" }, { name: "trackingCode", value: "1" }] };
  const fulfil = `mutation($f: FulfillOrderInput!) { addFulfillmentToOrder(input: $f) { ... on Fulfillment { id } ${REFUSED} } }`;
  const { id } = await admin.ask(fulfil, { f: { lines, handler } });
  await admin.ask(`mutation($i: ID!) { transitionFulfillmentToState(id: $i, state: "Shipped") { ${REFUSED} } }`, { i: id });
}

// The settled orders of so many lines, the oldest first.
async function settledOrders(lines) {
  const filter = { active: { eq: false }, state: { eq: "PaymentSettled" } };
  const list = `query($o: OrderListOptions) { orders(options: $o) { items { ${ORDER} } } }`;
  const { items } = await admin.ask(list, { o: { take: 100, filter, sort: { id: "ASC" } } });
  return items.filter((order) => order.lines.length === lines && order.lines.every((line) => line.quantity > 0));
}

async function fill(count) {
  admin = new Session("/admin-api");
  await admin.ask('mutation { login(username: "superadmin", password: "made-up-pass") { __typename } }');
  const promotion = {
    enabled: true,
    couponCode: "THIRTEEN",
    conditions: [],
    actions: [{ code: "order_percentage_discount", arguments: [{ name: "discount", value: "13" }] }],
    translations: [{ languageCode: "en", name: "thirteen" }],
  };
  await admin.ask(`mutation($p: CreatePromotionInput!) { createPromotion(input: $p) { ${REFUSED} } }`, { p: promotion });
  for (let number = 0; number < count; number++) await place(number);
  // None of these was placed: a cart, a cart that is cancelled, a draft.
  await fillCart(0);
  const abandoned = await fillCart(1);
  await cancel((await abandoned.ask("{ activeOrder { id } }")).id);
  const { id } = await admin.ask("mutation { createDraftOrder { id } }");
  const add = `mutation($i: ID!, $a: AddItemToDraftOrderInput!) { addItemToDraftOrder(orderId: $i, input: $a) { ${REFUSED} } }`;
  await admin.ask(add, { i: id, a: { productVariantId: 1, quantity: 2 } });
  console.log(admin.token);
}

async function edit() {
  const [fewer, without, partly, all] = (await settledOrders(2)).filter((order) => order.lines[1].quantity > 1);
  const [more, other, cancelled, shipped] = await settledOrders(1);
  const line = (order, index, quantity) => ({ orderLineId: order.lines[index].id, quantity });
  await modify(fewer, [line(fewer, 1, 1)]);
  await modify(without, [line(without, 0, 0)]);
  await cancel(partly.id, [line(partly, 1, 1)]);
  await modify(all, [line(all, 0, 0), line(all, 1, 0)]);
  await modify(more, [line(more, 0, 9)]);
  await modify(other, [], [{ productVariantId: 1, quantity: 2 }, { productVariantId: 2, quantity: 1 }]);
  await cancel(cancelled.id);
  await ship(shipped);
}

// The half that is nearer to an even number goes down: `numerator / denominator`, of whole numbers that are not negative.
function halfEven(numerator, denominator) {
  const [quotient, twice] = [numerator / denominator, (numerator % denominator) * 2n];
  return quotient + (twice > denominator || (twice === denominator && quotient % 2n === 1n) ? 1n : 0n);
}

// Four decimals, of ten-thousandths.
const decimal = (units) => `${units / 10000n}.${String(units % 10000n).padStart(4, "0")}`;

// The rows of an order, lines of one sku added up: the price is then total / quantity.
function rows(order) {
  const bySku = new Map();
  for (const line of order.lines) {
    const row = bySku.get(line.productVariant.sku) ?? { quantity: 0n, total: 0n };
    row.quantity += BigInt(line.quantity);
    row.total += BigInt(line.proratedLinePriceWithTax) * 100n;
    row.price = BigInt(line.unitPriceWithTax) * 100n;
    bySku.set(line.productVariant.sku, row);
  }
  return [...bySku].map(([sku, { quantity, total, price }]) => {
    const unit = quantity > 0n ? halfEven(total, quantity) : price;
    return [order.code, sku, order.state, order.currencyCode, quantity, decimal(unit), decimal(total)].join("|");
  });
}

async function list() {
  const line = "quantity unitPriceWithTax proratedLinePriceWithTax productVariant { sku }";
  const items = `items { code orderPlacedAt state currencyCode lines { ${line} } }`;
  const page = `query($s: Int!) { orders(options: { skip: $s, take: 100, sort: { id: ASC } }) { totalItems ${items} } }`;
  for (let skip = 0, total = 1; skip < total; skip += 100) {
    const { totalItems, items: orders } = await admin.ask(page, { s: skip });
    total = totalItems;
    const placed = orders.filter((order) => order.orderPlacedAt);
    for (const row of placed.flatMap(rows)) console.log(row);
  }
}

async function write() {
  let stopped = false;
  process.stdin.on("end", () => (stopped = true)).resume();
  const orders = (await settledOrders(2)).map((order) => order.id);
  for (let number = 1000; !stopped; number++) {
    orders.push(await place(number));
    const order = await read(orders[(number * 7) % orders.length]);
    if (order.state !== "PaymentSettled") continue;
    const [first, second] = order.lines.filter((line) => line.quantity > 0);
    const added = { productVariantId: 1 + (number % 3), quantity: 1 };
    if (number % 5 === 4) await cancel(order.id);
    else if (second && number % 3 === 0) await modify(order, [{ orderLineId: first.id, quantity: 0 }]);
    else if (first) await modify(order, [{ orderLineId: first.id, quantity: 1 + (number % 6) }], [added]);
  }
  console.log(orders.length);
}

if (command !== "fill") admin = new Session("/admin-api", argument);
const commands = { fill: () => fill(Number(argument)), edit, list, write };
commands[command]().catch((error) => {
  console.error(error);
  process.exit(1);
});
