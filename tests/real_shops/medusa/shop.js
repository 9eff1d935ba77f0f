// What a shop does, by the Admin API of a Medusa. A request that is refused ends the script with an error.
//
//   shop.js fill URL ORDERS   places orders and prints a secret API key
//   shop.js edit URL KEY      edits and cancels some of them
//   shop.js empty URL KEY     removes all lines of one order
//   shop.js write URL KEY     places, edits and cancels orders until its stdin ends
const [command, url, argument] = process.argv.slice(2);
let authorization;

async function call(method, path, body) {
  const headers = { "content-type": "application/json", ...(authorization && { authorization }) };
  const answer = await fetch(url + path, { method, headers, body: body && JSON.stringify(body) });
  if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${(await answer.text()).slice(0, 500)}`);
  return answer.json();
}

const get = (path) => call("GET", path);
const post = (path, body = {}) => call("POST", path, body);

async function createCatalog() {
  const { region: euro } = await post("/admin/regions", { name: "EU", currency_code: "eur", countries: ["de"] });
  const { region: yen } = await post("/admin/regions", { name: "JP", currency_code: "jpy", countries: ["jp"] });
  const { sales_channel: channel } = await post("/admin/sales-channels", { name: "web" });
  for (let number = 0; number < 4; number++) {
    const variant = (size) => ({
      title: size,
      // The last variant has no sku.
      sku: number === 3 && size === "M" ? undefined : `TEE-${number}-${size}`,
      manage_inventory: false,
      options: { Size: size },
      prices: [
        { currency_code: "eur", amount: 10.05 + number },
        { currency_code: "jpy", amount: 1500 + number },
      ],
    });
    await post("/admin/products", {
      title: `Tee ${number}`,
      status: "published",
      sales_channels: [{ id: channel.id }],
      options: [{ title: "Size", values: ["S", "M"] }],
      variants: ["S", "M"].map(variant),
    });
  }
  await post("/admin/customers", { email: "ann@example.test", first_name: "Ann" });
}

async function readCatalog() {
  const named = (list, name) => list.find((entry) => entry.name === name).id;
  const { regions } = await get("/admin/regions");
  const { sales_channels } = await get("/admin/sales-channels");
  const { variants } = await get("/admin/product-variants?fields=id&order=id");
  const { customers } = await get("/admin/customers?fields=id");
  return {
    euro: named(regions, "EU"),
    yen: named(regions, "JP"),
    channel: named(sales_channels, "web"),
    variants: variants.map((variant) => variant.id),
    customer: customers[0].id,
  };
}

// Two currencies, guests, lines without a variant, prices of three and of six decimals, and a sku on two lines.
async function draft(catalog, number) {
  const variant = (offset) => catalog.variants[(number + offset) % catalog.variants.length];
  const items = [{ variant_id: variant(0), quantity: 1 + (number % 3) }];
  if (number % 2 === 0) items.push({ variant_id: variant(3), quantity: 2 });
  if (number % 5 === 0) items.push({ title: "Gift wrap", quantity: 1, unit_price: 3.335 });
  if (number % 7 === 0) items.push({ title: "Ribbon", quantity: 3, unit_price: 1.234565 });
  if (number % 11 === 0) items.push({ variant_id: variant(0), quantity: 2, unit_price: 9.99 });
  const { draft_order } = await post("/admin/draft-orders", {
    region_id: number % 10 === 9 ? catalog.yen : catalog.euro,
    sales_channel_id: catalog.channel,
    shipping_methods: [],
    items,
    ...(number % 6 === 5 ? { email: "guest@example.test" } : { customer_id: catalog.customer, email: "ann@example.test" }),
  });
  return draft_order.id;
}

async function place(catalog, number) {
  const id = await draft(catalog, number);
  await post(`/admin/draft-orders/${id}/convert-to-order`);
  return id;
}

const cancel = (id) => post(`/admin/orders/${id}/cancel`);

async function read(id) {
  const { order } = await get(`/admin/orders/${id}?fields=id,status,*items`);
  return order;
}

// Asks for other quantities or prices of lines, and for more lines.
async function requestEdit(id, changes, more = []) {
  await post("/admin/order-edits", { order_id: id });
  for (const { line, ...change } of changes) await post(`/admin/order-edits/${id}/items/item/${line.id}`, change);
  if (more.length > 0) await post(`/admin/order-edits/${id}/items`, { items: more });
  await post(`/admin/order-edits/${id}/request`);
}

async function edit(id, changes, more) {
  await requestEdit(id, changes, more);
  await post(`/admin/order-edits/${id}/confirm`);
}

// The oldest orders that may still be edited, those of so many lines.
async function pendingOrders(lines) {
  const { orders } = await get("/admin/orders?limit=100&fields=id,status,*items&order=id");
  return orders.filter((order) => order.status === "pending" && order.items.length === lines);
}

async function fill(count) {
  const login = await post("/auth/user/emailpass", { email: "admin@example.test", password: "made-up-pass" });
  authorization = `Bearer ${login.token}`;
  const { api_key } = await post("/admin/api-keys", { title: "etl", type: "secret" });
  await createCatalog();
  const catalog = await readCatalog();
  const orders = [];
  for (let number = 0; number < count; number++) orders.push(await place(catalog, number));
  await cancel(orders[1]);
  // Neither a draft nor an edit that nobody has confirmed is an order's truth.
  await draft(catalog, 0);
  const { items } = await read(orders[0]);
  await requestEdit(orders[0], [{ line: items[0], quantity: 9 }]);
  console.log(api_key.token);
}

async function editSome() {
  const catalog = await readCatalog();
  const [alone, other, cancelled] = await pendingOrders(1);
  const [one, two, three] = await pendingOrders(2);
  await edit(one.id, [{ line: one.items[0], quantity: 0 }, { line: one.items[1], quantity: 7 }]);
  await edit(two.id, [{ line: two.items[1], quantity: 1 }]);
  await edit(three.id, [{ line: three.items[0], quantity: three.items[0].quantity, unit_price: 7.777 }]);
  await edit(alone.id, [], [{ variant_id: alone.items[0].variant_id, quantity: 4 }]);
  await edit(other.id, [{ line: other.items[0], quantity: 0 }], [{ variant_id: catalog.variants[5], quantity: 3 }]);
  await cancel(cancelled.id);
}

async function empty() {
  const [order] = await pendingOrders(1);
  await edit(order.id, [{ line: order.items[0], quantity: 0 }]);
  console.log(order.id);
}

async function write() {
  let stopped = false;
  process.stdin.on("end", () => (stopped = true)).resume();
  const catalog = await readCatalog();
  const orders = (await pendingOrders(2)).map((order) => order.id);
  for (let number = 1000; !stopped; number++) {
    orders.push(await place(catalog, number));
    const order = await read(orders[(number * 7) % orders.length]);
    if (order.status !== "pending") continue;
    const [first, second] = order.items;
    const added = { variant_id: catalog.variants[number % 8], quantity: 1 };
    if (number % 5 === 4) await cancel(order.id);
    else if (second && number % 3 === 0) await edit(order.id, [{ line: first, quantity: 0 }]);
    else if (first) await edit(order.id, [{ line: first, quantity: 1 + (number % 9) }], [added]);
  }
  console.log(orders.length);
}

if (command !== "fill") authorization = `Basic ${Buffer.from(`${argument}:`).toString("base64")}`;
const commands = { fill: () => fill(Number(argument)), edit: editSome, empty, write };
commands[command]().catch((error) => {
  console.error(error);
  process.exit(1);
});
