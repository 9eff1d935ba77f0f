const { DefaultLogger, LogLevel, dummyPaymentHandler } = require("@vendure/core");

exports.config = {
  logger: new DefaultLogger({ level: LogLevel.Warn }),
  apiOptions: {
    port: Number(process.env.PORT),
    hostname: "127.0.0.1",
    adminApiPath: "admin-api",
    shopApiPath: "shop-api",
  },
  authOptions: {
    tokenMethod: "bearer",
    superadminCredentials: { identifier: "superadmin", password: "made-up-pass" },
    requireVerification: false,
  },
  dbConnectionOptions: { type: "postgres", url: process.env.DATABASE_URL, synchronize: true },
  paymentOptions: { paymentMethodHandlers: [dummyPaymentHandler] },
  plugins: [],
};
