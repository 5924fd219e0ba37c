// The Node client of the v1 documentation, word for word; the test puts address, event and library in.
// Require the Socket.IO client library
const io = require("socket.io-client");

// Establish a connection to the WebSocket server
const socket = io("wss://api.yoursite.com/instance_name", {
  transports: ["websocket"], // Specify that only WebSockets should be used
});

// Event listener for successful connection
socket.on("connect", () => {
  console.log("Connected to the WebSocket server successfully");
});

// Listen for custom events from the server
socket.on("event_name", (data) => {
  // Handle the event and process the received data
  console.log("Event received:", data);
});

// Event listener for disconnection
socket.on("disconnect", () => {
  console.log("Disconnected from the WebSocket server");
});

// Handle connection errors (e.g., server unreachable)
socket.on("connect_error", (error) => {
  console.log("Connection error:", error.message);
});
