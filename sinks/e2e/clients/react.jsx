// Shows the component of the documentation with the image that it begins with.
import React from "react";
import { createRoot } from "react-dom/client";
import QrCode from "./QrCode.jsx";

const first = new URLSearchParams(window.location.search).get("first");
createRoot(document.getElementById("root")).render(<QrCode base64={first} />);
