const { bootstrap, dummyPaymentHandler } = require("@vendure/core");
const { populate } = require("@vendure/core/cli");
const { config } = require("./config");

const payment = { code: dummyPaymentHandler.code, arguments: [{ name: "automaticSettle", value: "true" }] };
const initialData = {
  defaultLanguage: "en",
  defaultZone: "Europe",
  countries: [{ name: "Germany", code: "DE", zone: "Europe" }],
  taxRates: [{ name: "Standard Tax", percentage: 19 }],
  shippingMethods: [{ name: "Standard", price: 500 }],
  paymentMethods: [{ name: "dummy", handler: payment }],
  collections: [],
  roles: [],
};

populate(() => bootstrap(config), initialData, `${__dirname}/products.csv`)
  .then((app) => app.close())
  .then(() => process.exit(0))
  .catch((error) => {
    console.error(error);
    process.exit(1);
  });
